/** When requests are sent again and after how long, on a clock that stands still. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fetch, FetchResponse } from "../../client/fetch-port.ts";
import { LegacyGpuClient, LegacyGpuError, type RetryPolicy } from "../../client/index.ts";
import { toProblem } from "../../shared/api/problem.ts";
import { type ErrorCode, fail } from "../../shared/errors.ts";
import { sampleHealth, sampleTask } from "../support/api-samples.ts";
import { ManualClock } from "../support/manual-clock.ts";

type Step =
  | { readonly refuse: ErrorCode; readonly retryAfter?: string }
  | { readonly code: string }
  | { readonly json: unknown }
  | "hang";

function answer(status: number, json: unknown, retryAfter?: string): FetchResponse {
  const get = (name: string): string | null => (name === "retry-after" ? (retryAfter ?? null) : null);
  return { status, headers: { get }, body: null, text: () => Promise.resolve(JSON.stringify(json)) };
}

interface Scripted {
  readonly fetch: Fetch;
  /** The headers of each request. */
  readonly sent: Record<string, string>[];
}

function scripted(steps: readonly Step[]): Scripted {
  const sent: Record<string, string>[] = [];
  const fetch: Fetch = async (_url, { signal, headers }) => {
    const step = steps[Math.min(sent.length, steps.length - 1)] ?? "hang";
    sent.push(headers);
    if (step === "hang") {
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    }
    if ("json" in step) return answer(200, step.json);
    if ("code" in step) throw new TypeError("fetch failed", { cause: Object.assign(new Error("x"), step) });
    const error = fail(step.refuse);
    return answer(error.status, toProblem(error, "req_1"), step.retryAfter);
  };
  return { fetch, sent };
}

interface Rig extends Pick<Scripted, "sent"> {
  readonly clock: ManualClock;
  readonly client: LegacyGpuClient;
}

/** With the random number 1 each delay is its ceiling. */
function rig(steps: readonly Step[], retry: Partial<RetryPolicy> = {}): Rig {
  const clock = new ManualClock();
  const { fetch, sent } = scripted(steps);
  const client = new LegacyGpuClient({ url: "https://gateway.test", fetch, clock, retry, random: () => 1 });
  return { clock, client, sent };
}

/** Lets everything run that does not wait for the clock. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

function outcome(work: Promise<unknown>): { value: unknown } {
  const seen: { value: unknown } = { value: "pending" };
  work.then(
    (value) => (seen.value = value),
    (error) => (seen.value = error instanceof LegacyGpuError ? error.code : error),
  );
  return seen;
}

const TASK = { model: "digits", input: { image: "AAAA" } };

test("delays double up to the cap; then the last error is thrown and no timer is left", async () => {
  const { clock, client, sent } = rig([{ refuse: "gateway_draining" }], { maxTries: 4, capMs: 600 });
  const seen = outcome(client.health());
  for (const [delayMs, expected] of [
    [200, 2],
    [400, 3],
    [600, 4],
  ] as const) {
    await settle();
    clock.advance(delayMs - 1);
    await settle();
    assert.equal(sent.length, expected - 1, `too early, before ${delayMs} ms`);
    clock.advance(1);
    await settle();
    assert.equal(sent.length, expected);
  }
  assert.equal(seen.value, "gateway_draining");
  assert.equal(clock.pendingCount, 0);
});

test("Retry-After is waited for, with the jitter on top; in seconds or as a date", async () => {
  for (const retryAfter of ["7", new Date(Date.UTC(2026, 0, 1, 0, 0, 7)).toUTCString()]) {
    const { clock, client, sent } = rig([{ refuse: "queue_full", retryAfter }, { json: sampleTask() }]);
    const seen = outcome(client.submit(TASK));
    await settle();
    clock.advance(7199);
    await settle();
    assert.equal(sent.length, 1);
    clock.advance(1);
    await settle();
    assert.equal(sent.length, 2);
    assert.deepEqual(seen.value, sampleTask());
  }
});

test("a Retry-After past all patience ends the tries", async () => {
  const { client, clock, sent } = rig([{ refuse: "queue_full", retryAfter: "3600" }]);
  const seen = outcome(client.submit(TASK));
  await settle();
  assert.equal(seen.value, "queue_full");
  assert.equal(sent.length, 1);
  assert.equal(clock.pendingCount, 0);
});

const FAULTS: readonly Step[] = [
  { code: "ECONNREFUSED" },
  { code: "UND_ERR_CONNECT_TIMEOUT" },
  { refuse: "queue_full" },
  { refuse: "key_queue_full" },
  { refuse: "gateway_draining" },
  { code: "ECONNRESET" },
  { code: "UND_ERR_SOCKET" },
  { refuse: "idempotency_in_progress" },
  { refuse: "worker_lost" },
];
/** The first of them: nothing can have been accepted. */
const REFUSED_COUNT = 5;

test("a task is submitted again after any fault that may pass, with the same idempotency key", async () => {
  for (const step of FAULTS) {
    const { client, clock, sent } = rig([step, { json: sampleTask() }]);
    const seen = outcome(client.submit(TASK));
    await settle();
    clock.advance(200);
    await settle();
    assert.deepEqual(seen.value, sampleTask(), JSON.stringify(step));
    const keys = sent.map((headers) => headers["idempotency-key"]);
    assert.equal(keys.length, 2);
    assert.equal(keys[0], keys[1]);
    assert.match(keys[0] ?? "", /^\S{20,255}$/);
  }
});

test("two submissions have different idempotency keys", async () => {
  const { client, sent } = rig([{ json: sampleTask() }]);
  await client.submit(TASK);
  await client.submit(TASK);
  assert.notEqual(sent[0]?.["idempotency-key"], sent[1]?.["idempotency-key"]);
});

test("what has no idempotency key is sent again only when it cannot have been accepted", async () => {
  for (const [i, step] of FAULTS.entries()) {
    const { client, clock, sent } = rig([step, { json: sampleTask() }]);
    outcome(client.retry("task_1"));
    await settle();
    clock.advance(200);
    await settle();
    assert.equal(sent.length, i < REFUSED_COUNT ? 2 : 1, JSON.stringify(step));
  }
});

test("what can never succeed is sent once", async () => {
  for (const refuse of ["internal", "auth_invalid", "idempotency_conflict", "task_exists"] as const) {
    const { client, clock, sent } = rig([{ refuse }]);
    const seen = outcome(client.submit(TASK));
    await settle();
    assert.equal(seen.value, refuse);
    assert.equal(sent.length, 1);
    assert.equal(clock.pendingCount, 0);
  }
});

test("the error of a task, asked for as its result, is an answer and not asked for again", async () => {
  for (const refuse of ["worker_lost", "out_of_memory", "task_not_finished"] as const) {
    const { client, clock, sent } = rig([{ refuse }]);
    const seen = outcome(client.result("task_1"));
    await settle();
    assert.equal(seen.value, refuse);
    assert.equal(sent.length, 1);
    assert.equal(clock.pendingCount, 0);
  }
});

test("a result whose transfer broke off is asked for again", async () => {
  const response = { model_name: "digits", model_version: "1", outputs: [] };
  for (const step of [{ code: "UND_ERR_SOCKET" }, { refuse: "gateway_draining" }] as const) {
    const { client, clock } = rig([step, { json: response }]);
    const seen = outcome(client.result("task_1"));
    await settle();
    clock.advance(200);
    await settle();
    assert.deepEqual(seen.value, response);
  }
});

test("reading, writing with PUT and cancelling are repeated after any fault that may pass", async () => {
  for (const step of [{ code: "ECONNRESET" }, { refuse: "worker_lost" }, { refuse: "timed_out" }] as const) {
    const get = rig([step, { json: sampleHealth }]);
    const cancel = rig([step, { json: sampleTask() }]);
    const seen = [outcome(get.client.health()), outcome(cancel.client.cancel("task_1"))];
    await settle();
    for (const { clock } of [get, cancel]) clock.advance(200);
    await settle();
    assert.deepEqual(
      seen.map(({ value }) => value),
      [sampleHealth, sampleTask()],
      JSON.stringify(step),
    );
  }
});

test("a certificate that is not trusted is never tried again", async () => {
  const { client, sent } = rig([{ code: "SELF_SIGNED_CERT_IN_CHAIN" }]);
  const seen = outcome(client.health());
  await settle();
  assert.equal(seen.value, "certificate_invalid");
  assert.equal(sent.length, 1);
});

test("no answer within the time limit is timed_out, for what has no key without a second try", async () => {
  const { client, clock, sent } = rig(["hang"]);
  const seen = outcome(client.retry("task_1"));
  await settle();
  clock.advance(29_999);
  await settle();
  assert.equal(seen.value, "pending");
  clock.advance(1);
  await settle();
  assert.equal(seen.value, "timed_out");
  assert.equal(sent.length, 1);
  assert.equal(clock.pendingCount, 0);
});

test("a task whose submission is not answered in time is submitted again", async () => {
  const { client, clock, sent } = rig(["hang", { json: sampleTask() }]);
  const seen = outcome(client.submit(TASK));
  await settle();
  clock.advance(30_000);
  await settle();
  clock.advance(200);
  await settle();
  assert.equal(sent.length, 2);
  assert.deepEqual(seen.value, sampleTask());
});

test("a large body has more time to arrive", async () => {
  const { client, clock } = rig(["hang"], { maxTries: 1 });
  const image = "A".repeat(6_400_000);
  const seen = outcome(client.submit({ model: "digits", input: { image } }));
  await settle();
  clock.advance(129_999);
  await settle();
  assert.equal(seen.value, "pending");
  clock.advance(10);
  await settle();
  assert.equal(seen.value, "timed_out");
});

test("an abort between two tries ends the wait at once", async () => {
  const { client, clock, sent } = rig([{ refuse: "gateway_draining" }]);
  const stop = new AbortController();
  const seen = outcome(client.health(stop.signal));
  await settle();
  stop.abort("enough");
  await settle();
  assert.equal(seen.value, "enough");
  assert.equal(sent.length, 1);
  assert.equal(clock.pendingCount, 0);
});

test("wait gives up on a gateway that stays away for more than a minute", async () => {
  const { client, clock } = rig([{ code: "ECONNREFUSED" }]);
  const seen = outcome(client.wait("task_1"));
  for (let second = 0; second < 60; second += 1) {
    await settle();
    clock.advance(1000);
  }
  await settle();
  assert.equal(seen.value, "pending");
  for (let second = 0; second < 10; second += 1) {
    clock.advance(1000);
    await settle();
  }
  assert.equal(seen.value, "gateway_unreachable");
  assert.equal(clock.pendingCount, 0);
});
