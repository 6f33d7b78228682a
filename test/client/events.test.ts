/** The events of a task as the SDK tells of them: through cuts, silence and other tries, over a real connection. */

import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { after, afterEach, before, test } from "node:test";
import fc from "fast-check";
import { type ServerSentEvent, serverSentEvents } from "../../client/event-stream.ts";
import { LegacyGpuClient, type TaskEvent } from "../../client/index.ts";
import { type PinnedFetch, pinnedFetch } from "../../client/pinned-fetch.ts";
import type { Clock } from "../../shared/clock.ts";
import { completedTask, eventText, sampleEvent, sampleTask } from "../support/api-samples.ts";
import { type Answer, FakeApi, problem } from "../support/fake-api.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { until } from "../support/until.ts";

let api: FakeApi;
let fetch: PinnedFetch;
let client: LegacyGpuClient;

before(async () => {
  api = await FakeApi.start();
  fetch = pinnedFetch({ caPem: api.caPem });
  // No delay before a second try: what is tested here is what it sends.
  client = new LegacyGpuClient({ url: api.url, key: "lgk_test", fetch, random: () => 0 });
});
afterEach(() => api.reset());
after(async () => {
  await fetch.close();
  await api.close();
});

const EVENTS = "GET /tasks/task_1/events";
const ATTEMPT = { n: 1, worker: "box", site: "home", token: 7 };
const QUEUED = sampleEvent("queued", { seq: 1 });
const ASSIGNED = sampleEvent("assigned", { seq: 2, attempt: ATTEMPT });
const PROGRESS = sampleEvent("progress", { progress: { phase: "loading_model", percent: 40 } });
const STARTED = sampleEvent("started", { seq: 3, attempt: ATTEMPT });
const COMPLETED = sampleEvent("completed", { seq: 4, snapshot: completedTask() });

const stream = (events: readonly TaskEvent[], ending: Answer["ending"] = "end"): Answer => ({
  pieces: events.map(eventText),
  ending,
  headers: { "content-type": "text/event-stream" },
});

async function collect(events: AsyncIterable<TaskEvent>): Promise<TaskEvent[]> {
  const seen: TaskEvent[] = [];
  for await (const event of events) seen.push(event);
  return seen;
}

const lastIds = (): unknown[] => api.requests.map(({ headers }) => headers["last-event-id"]);

test("all events are told of in order, until the task has ended", async () => {
  api.on(EVENTS, stream([QUEUED, ASSIGNED, PROGRESS, STARTED, COMPLETED]));
  const seen = await collect(client.events("task_1"));
  assert.deepEqual(seen, [QUEUED, ASSIGNED, PROGRESS, STARTED, COMPLETED]);
  assert.equal(api.requests.length, 1);
  assert.equal(api.requests[0]?.headers.accept, "text/event-stream");
  assert.equal(api.requests[0]?.headers.authorization, "Bearer lgk_test");
});

test("after a cut the stream goes on after the last event that was seen", async () => {
  api.on(EVENTS, stream([QUEUED, ASSIGNED, PROGRESS], "cut"), stream([STARTED, COMPLETED]));
  const troubles: string[] = [];
  const onTrouble = ({ code }: Error & { code: string }): void => void troubles.push(code);
  const seen = await collect(client.events("task_1", { onTrouble }));
  assert.deepEqual(seen, [QUEUED, ASSIGNED, PROGRESS, STARTED, COMPLETED]);
  assert.deepEqual(lastIds(), [undefined, "2"]);
  assert.deepEqual(troubles, ["gateway_unreachable"]);
});

test("an event that was cut in the middle is asked for again", async () => {
  const half = eventText(ASSIGNED).slice(0, -10);
  api.on(EVENTS, { pieces: [eventText(QUEUED), half], ending: "cut" }, stream([ASSIGNED, COMPLETED]));
  assert.deepEqual(await collect(client.events("task_1")), [QUEUED, ASSIGNED, COMPLETED]);
  assert.deepEqual(lastIds(), [undefined, "1"]);
});

test("a stream that ends before the task, a restart and a connection that breaks are bridged", async () => {
  api.on(EVENTS, stream([QUEUED]), problem("gateway_draining"), "drop", stream([ASSIGNED, COMPLETED]));
  assert.deepEqual(await collect(client.events("task_1")), [QUEUED, ASSIGNED, COMPLETED]);
  assert.deepEqual(lastIds(), [undefined, "1", "1", "1"]);
});

test("events that are known already are not asked for", async () => {
  api.on(EVENTS, stream([STARTED, COMPLETED]));
  assert.deepEqual(await collect(client.events("task_1", { after: 2 })), [STARTED, COMPLETED]);
  assert.deepEqual(lastIds(), ["2"]);
});

test("a task that was tried again has ended before, and its events go on, also after a cut at that end", async () => {
  const error = { code: "worker_lost", message: "The worker was lost.", retryable: true };
  const earlier = sampleEvent("completed", { seq: 2, error });
  const again = sampleEvent("queued", { seq: 3 });
  api.on(EVENTS, stream([QUEUED, earlier], "cut"), stream([again], "cut"), stream([COMPLETED]));
  assert.deepEqual(await collect(client.events("task_1")), [QUEUED, earlier, again, COMPLETED]);
  assert.deepEqual(lastIds(), [undefined, "2", "3"]);
});

test("a task that is tried again in the moment of its end is followed further", async () => {
  const again = sampleEvent("queued", { seq: 5 });
  const last = sampleEvent("completed", { seq: 6, snapshot: completedTask() });
  api.on(EVENTS, stream([QUEUED, COMPLETED, again], "cut"), stream([last]));
  assert.deepEqual(await collect(client.events("task_1")), [QUEUED, COMPLETED, again, last]);
  assert.deepEqual(lastIds(), [undefined, "5"]);
});

test("a cut after the end needs no second connection", async () => {
  api.on(EVENTS, stream([QUEUED, COMPLETED], "cut"));
  assert.deepEqual(await collect(client.events("task_1")), [QUEUED, COMPLETED]);
  assert.equal(api.requests.length, 1);
});

test("events that the gateway has forgotten: how the task stands, which may be the end of it", async () => {
  const reset = sampleEvent("reset", { seq: 9, snapshot: sampleTask({ status: "RUNNING" }) });
  api.on(EVENTS, stream([reset]), stream([COMPLETED]));
  assert.deepEqual(await collect(client.events("task_1", { after: 20 })), [reset, COMPLETED]);
  assert.deepEqual(lastIds(), ["20", "9"]);
  const ended = sampleEvent("reset", { seq: 9, snapshot: completedTask() });
  api.on(EVENTS, stream([ended]));
  assert.deepEqual(await collect(client.events("task_1")), [ended]);
});

test("events that this version does not know are passed over, and not asked for twice", async () => {
  const unknown = "id: 2\nevent: verified\ndata: {}\n\n";
  api.on(EVENTS, { pieces: [eventText(QUEUED), unknown], ending: "cut" }, stream([COMPLETED]));
  assert.deepEqual(await collect(client.events("task_1")), [QUEUED, COMPLETED]);
  assert.deepEqual(lastIds(), [undefined, "2"]);
});

test("an event in another form is an error, and so is a task that does not exist", async () => {
  api.on(EVENTS, { pieces: ["event: queued\ndata: {}\n\n"] });
  await assert.rejects(collect(client.events("task_1")), { code: "unknown" });
  api.on(EVENTS, problem("task_not_found"));
  await assert.rejects(collect(client.events("task_1")), { code: "task_not_found" });
});

test("leaving the loop and aborting let go of the connection", async () => {
  api.on(EVENTS, stream([QUEUED], "stay"));
  for await (const event of client.events("task_1")) {
    assert.deepEqual(event, QUEUED);
    break;
  }
  await until("the connection to be closed by the client", () => api.openStreams === 0);
  const stop = new AbortController();
  const aborted = collect(client.events("task_1", { signal: stop.signal }));
  await until("the second stream", () => api.openStreams === 1);
  stop.abort(new Error("enough"));
  await assert.rejects(aborted, /enough/);
  await until("the second connection to be closed", () => api.openStreams === 0);
});

test("a connection that says nothing for 45 s is given up", async () => {
  const clock = new ManualClock();
  const patient = new LegacyGpuClient({ url: api.url, fetch, clock, random: () => 0 });
  api.on(EVENTS, stream([QUEUED], "stay"), stream([COMPLETED]));
  const events = patient.events("task_1");
  assert.deepEqual((await events.next()).value, QUEUED);
  const next = events.next();
  await until("the limit to be set", () => clock.pendingCount === 1);
  clock.advance(44_999);
  assert.equal(clock.pendingCount, 1);
  clock.advance(1);
  await until("the second connection", () => {
    clock.advance(1);
    return api.requests.length === 2;
  });
  assert.deepEqual((await next).value, COMPLETED);
  assert.equal((await events.next()).done, true);
  assert.equal(clock.pendingCount, 0);
});

test("signs of life keep a connection on which nothing happens", async () => {
  const clock = new ManualClock();
  let limitCount = 0;
  const counting: Clock = {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    after(delayMs, callback) {
      limitCount += 1;
      return clock.after(delayMs, callback);
    },
  };
  const letters = new PassThrough({ objectMode: true });
  api.on(EVENTS, { pieces: letters });
  const waiting = collect(new LegacyGpuClient({ url: api.url, fetch, clock: counting }).events("task_1"));
  // One limit for the beginning of the answer, then one for each piece.
  await until("the answer", () => limitCount === 2);
  for (let sent = 1; sent <= 3; sent += 1) {
    letters.write(": alive\n\n");
    await until(`sign of life ${sent}`, () => limitCount === 2 + sent);
    clock.advance(44_000);
  }
  letters.end(eventText(COMPLETED));
  assert.deepEqual(await waiting, [COMPLETED]);
  assert.equal(api.requests.length, 1);
});

test("a proxy that ends quiet connections does not wear out the patience", async () => {
  const clock = new ManualClock();
  const patient = new LegacyGpuClient({ url: api.url, fetch, clock, random: () => 1 });
  const quiet = Array.from({ length: 20 }, (): Answer => ({ pieces: [": alive\n\n"] }));
  api.on(EVENTS, ...quiet, stream([COMPLETED]));
  let seen: TaskEvent[] | undefined;
  void collect(patient.events("task_1")).then((events) => {
    seen = events;
  });
  await until("the end of the task", () => {
    clock.advance(1000);
    return seen;
  });
  assert.deepEqual(seen, [COMPLETED]);
  assert.equal(api.requests.length, 21);
  assert.ok(clock.monotonic() > 60_000);
});

test("a gateway that stays away for more than a minute ends the wait", async () => {
  const clock = new ManualClock();
  const patient = new LegacyGpuClient({ url: api.url, fetch, clock, random: () => 1 });
  api.on(EVENTS, problem("gateway_draining"));
  let failure: unknown;
  void collect(patient.events("task_1")).catch((error: unknown) => {
    failure = error;
  });
  await until("the patience to end", () => {
    clock.advance(500);
    return failure;
  });
  assert.equal((failure as { code?: string }).code, "gateway_draining");
  assert.ok(clock.monotonic() > 60_000);
  assert.equal(clock.pendingCount, 0);
});

async function parsed(pieces: readonly Uint8Array[]): Promise<ServerSentEvent[]> {
  const events: ServerSentEvent[] = [];
  const arriving = (async function* () {
    yield* pieces;
  })();
  for await (const event of serverSentEvents(arriving)) events.push(event);
  return events;
}

test("events are the same however the network cuts them into pieces", async () => {
  const text =
    ': hello\n\nid: 1\nevent: queued\ndata: {"ü":"…"}\n\nid\nretry: 5\ndata:a\ndata:  b\n\nevent: x\r\ndata: c\r\n\r\nevent: cut\n';
  const bytes = new TextEncoder().encode(text);
  const expected: ServerSentEvent[] = [
    { name: "queued", data: '{"ü":"…"}', lastId: "1" },
    { name: "message", data: "a\n b", lastId: "" },
    { name: "x", data: "c", lastId: "" },
  ];
  const cuts = fc.uniqueArray(fc.integer({ min: 1, max: bytes.length - 1 }), { maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(cuts, async (at) => {
      const ends = [...at.sort((a, b) => a - b), bytes.length];
      const pieces = ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
      assert.deepEqual(await parsed(pieces), expected);
    }),
    { numRuns: 200 },
  );
});
