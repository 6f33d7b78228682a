/** Batches in the SDK: sent once whatever the network does, waited for, and their results read line by line. */

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { type BatchResult, endedIn, LegacyGpuClient } from "../../client/index.ts";
import { type PinnedFetch, pinnedFetch } from "../../client/pinned-fetch.ts";
import { sampleBatch, sampleBatchResult } from "../support/api-samples.ts";
import { FakeApi, problem } from "../support/fake-api.ts";
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

const ITEM = { input: { image: "AAAA" }, external_reference: "a.png" };
const RESULTS = "GET /batches/batch_1/results";

const line = (result: BatchResult): string => `${JSON.stringify(result)}\n`;

async function collect(results: AsyncIterable<BatchResult>): Promise<BatchResult[]> {
  const seen: BatchResult[] = [];
  for await (const result of results) seen.push(result);
  return seen;
}

test("a batch and more items for it are sent again with their keys when the answer was lost", async () => {
  api.on("POST /batches", "drop", { status: 202, json: sampleBatch({ total: 1, pending: 1 }) });
  api.on("POST /batches/batch_1/items", "drop", { json: sampleBatch({ total: 2, pending: 2 }) });
  const batch = await client.createBatch({ model: "digits", items: [ITEM], tags: ["nightly"] });
  assert.equal((await client.addToBatch(batch.id, [ITEM])).counts.total, 2);
  const keys = api.requests.map(({ headers }) => headers["idempotency-key"]);
  assert.ok(keys[0] !== undefined && keys[2] !== undefined && keys[0] !== keys[2]);
  assert.deepEqual([keys[1], keys[3]], [keys[0], keys[2]]);
  const bodies = api.requests.map(({ body }) => JSON.parse(body.toString()) as unknown);
  assert.deepEqual(bodies[1], { model: "digits", items: [ITEM], tags: ["nightly"] });
  assert.deepEqual(bodies[3], { items: [ITEM] });
});

test("get, cancel and a batch that does not exist", async () => {
  api.on("GET /batches/batch_1", { json: sampleBatch({ total: 2, running: 1, failed: 1 }) });
  api.on("POST /batches/batch_1/cancel", "drop", {
    json: sampleBatch({ total: 2, cancelled: 1, failed: 1 }),
  });
  assert.equal(endedIn(await client.batch("batch_1")), 1);
  assert.equal(endedIn(await client.cancelBatch("batch_1")), 2);
  api.on("GET /batches/batch_2", problem("batch_not_found"));
  await assert.rejects(client.batch("batch_2"), { code: "batch_not_found" });
});

test("results are read as they come, in whatever pieces", async () => {
  const results = [0, 1, 2].map((index) => sampleBatchResult(index));
  const text = results.map(line).join("");
  api.on(RESULTS, { pieces: [text.slice(0, 30), text.slice(30, -5), text.slice(-5)] });
  assert.deepEqual(await collect(client.batchResults("batch_1")), results);
});

test("results that broke off are asked for again, and none is told of twice", async () => {
  const results = [0, 1, 2].map((index) => sampleBatchResult(index));
  const lines = results.map(line);
  api.on(
    RESULTS,
    { pieces: [lines[0] ?? "", (lines[1] ?? "").slice(0, 20)], ending: "cut" },
    problem("gateway_draining"),
    { text: lines.join("") },
  );
  const troubles: string[] = [];
  const onTrouble = ({ code }: { readonly code: string }): void => void troubles.push(code);
  assert.deepEqual(await collect(client.batchResults("batch_1", { onTrouble })), results);
  assert.deepEqual(troubles, ["gateway_unreachable", "gateway_draining"]);
});

test("a line in another form is an error", async () => {
  api.on(RESULTS, { text: `${line(sampleBatchResult(0))}{"index":"one"}\n` });
  await assert.rejects(collect(client.batchResults("batch_1")), { code: "unknown" });
});

test("a batch is waited for until all of it has ended, and changes are told once", async () => {
  const clock = new ManualClock();
  const waiting = new LegacyGpuClient({ url: api.url, fetch, clock, random: () => 0 });
  const states = [
    sampleBatch({ total: 3, pending: 3 }),
    sampleBatch({ total: 3, running: 1, completed: 1, pending: 1 }),
    sampleBatch({ total: 3, completed: 2, failed: 1 }),
  ];
  const [first, second, last] = states.map((json) => ({ json }));
  api.on("GET /batches/batch_1", first ?? "hang", first ?? "hang", "drop", second ?? "hang", last ?? "hang");
  const updates: number[] = [];
  const troubles: string[] = [];
  let ended: unknown;
  void waiting
    .waitForBatch("batch_1", {
      onUpdate: (batch) => void updates.push(endedIn(batch)),
      onTrouble: ({ code }) => void troubles.push(code),
    })
    .then((batch) => {
      ended = batch;
    });
  await until("the end of the batch", () => {
    clock.advance(100);
    return ended;
  });
  assert.deepEqual(ended, states[2]);
  assert.deepEqual(updates, [0, 1, 3]);
  assert.deepEqual(troubles, ["gateway_unreachable"]);
  assert.equal(api.requests.length, 5);
  assert.equal(clock.pendingCount, 0);
});

test("the wait for a batch ends with its time, and says how far the batch is", async () => {
  api.on("GET /batches/batch_1", { json: sampleBatch({ total: 8, running: 3, completed: 5 }) });
  await assert.rejects(client.waitForBatch("batch_1", { timeoutMs: 100 }), {
    code: "timed_out",
    message: /Batch batch_1 did not end within 100 ms and goes on\. It is RUNNING: 5 of 8 have ended\./,
  });
});
