/** What the SDK does with single tasks beyond submitting and getting them, with dead letters and with queues. */

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { LegacyGpuClient, newTaskId, resultOf } from "../../client/index.ts";
import { type PinnedFetch, pinnedFetch } from "../../client/pinned-fetch.ts";
import { inferResponseSchema } from "../../shared/api/inference.ts";
import { taskIdSchema } from "../../shared/api/tasks.ts";
import { completedTask, failedTask, sampleQueue, sampleTask } from "../support/api-samples.ts";
import { FakeApi, problem } from "../support/fake-api.ts";

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

const TASK = { model: "digits", input: { image: "AAAA" } };
const PNG = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 1, 2, 3]);

const keysSent = (): (string | string[] | undefined)[] =>
  api.requests.map(({ headers }) => headers["idempotency-key"]);
const bodyOf = (index: number): unknown => JSON.parse(api.requests[index]?.body.toString() ?? "");

test("a submission whose connection died before the answer is sent again with its key, picture or not", async () => {
  api.on("POST /tasks", "drop", { status: 202, json: sampleTask() });
  assert.equal((await client.submit(TASK)).id, "task_1");
  api.on("POST /tasks", "drop", { status: 202, json: sampleTask() });
  assert.equal((await client.submitImage("digits", PNG)).id, "task_1");
  const [first, second, third, fourth] = keysSent();
  assert.ok(first !== undefined && third !== undefined);
  assert.deepEqual([second, fourth], [first, third]);
  assert.notEqual(first, third);
  assert.deepEqual(api.requests[3]?.body, Buffer.from(PNG));
});

test("a caller can give an idempotency key of its own", async () => {
  api.on("POST /tasks", { status: 202, json: sampleTask(), headers: { "idempotency-replayed": "true" } });
  await client.submit(TASK, { idempotencyKey: "order-17" });
  await client.submitImage("digits", PNG, { idempotencyKey: "order-18" });
  assert.deepEqual(keysSent(), ["order-17", "order-18"]);
});

test("a caller can choose the id of its task and note it down before", async () => {
  const id = newTaskId();
  assert.equal(taskIdSchema.parse(id), id);
  assert.ok(newTaskId(0) < id && id < newTaskId(Date.now() + 1000), "ids sort by age");
  api.on(`PUT /tasks/${id}`, "drop", { status: 202, json: sampleTask({ id }) });
  assert.equal((await client.submit(TASK, { id })).id, id);
  assert.equal(api.requests.length, 2);
  api.on(`PUT /tasks/${id}`, problem("task_exists"));
  await assert.rejects(client.submit(TASK, { id }), { code: "task_exists" });
});

test("every option of a task is sent as it is given", async () => {
  api.on("POST /tasks", { status: 202, json: sampleTask() });
  const task = {
    ...TASK,
    execution_timeout_ms: 5000,
    result_ttl_s: 60,
    retry: { max_attempts: 2, backoff_ms: 100, on: ["worker_lost" as const] },
    placement: { sites: ["berlin"], labels: { tier: "lab" }, providers: ["cuda"], min_vram_mb: 4000 },
    webhook: { url: "https://hooks.example/done" },
    metadata: { order: "17" },
    tags: ["nightly"],
    durability: "relaxed" as const,
  };
  await client.submit(task);
  assert.deepEqual(bodyOf(0), task);
});

test("the result alone, and the errors instead of it", async () => {
  const response = inferResponseSchema.parse(completedTask().result);
  api.on("GET /tasks/task_1/result", "drop", { json: response });
  assert.deepEqual(await client.result("task_1"), response);
  for (const code of ["task_not_finished", "result_expired", "worker_lost", "model_run_failed"] as const) {
    api.requests.length = 0;
    api.on("GET /tasks/task_1/result", problem(code));
    await assert.rejects(client.result("task_1"), { code });
    assert.equal(api.requests.length, 1, code);
  }
});

test("resultOf says that a result was removed", () => {
  const removed = completedTask({ result: null, data_removed: true });
  assert.throws(() => resultOf(removed), { code: "result_expired" });
});

test("retry, remove and the list with its filters", async () => {
  api.on("POST /tasks/task_1/retry", { json: sampleTask({ attempt: 1 }) });
  api.on("DELETE /tasks/task_1", { json: failedTask({ data_removed: true }) });
  api.on("GET /tasks", { json: { tasks: [failedTask()], next_cursor: null } });
  assert.equal((await client.retry("task_1")).status, "PENDING");
  assert.equal((await client.remove("task_1")).data_removed, true);
  await client.list({ state: "FAILED", site: "berlin", tag: "nightly", batch: "batch_1" });
  assert.equal(api.requests.at(-1)?.query.toString(), "state=FAILED&site=berlin&tag=nightly&batch=batch_1");
  api.on("POST /tasks/task_1/retry", problem("task_not_retryable"));
  await assert.rejects(client.retry("task_1"), { code: "task_not_retryable" });
});

test("dead letters are listed, tried again and forgotten, all of them or some", async () => {
  api.on("GET /dead-letters", { json: { tasks: [failedTask({ dead_letter: true })], next_cursor: "c" } });
  api.on("POST /dead-letters/retry", { json: { count: 3 } });
  api.on("POST /dead-letters/purge", { json: { count: 1 } });
  assert.equal((await client.deadLetters({ model: "digits", limit: 5 })).tasks[0]?.dead_letter, true);
  assert.equal(api.requests[0]?.query.toString(), "model=digits&limit=5");
  assert.equal(await client.retryDeadLetters(), 3);
  assert.equal(await client.purgeDeadLetters({ model: "digits", ids: ["task_1"] }), 1);
  assert.deepEqual([bodyOf(1), bodyOf(2)], [{}, { model: "digits", ids: ["task_1"] }]);
});

test("the queue of a model is looked at, paused, resumed and purged", async () => {
  api.on("GET /models/digits/queue", { json: sampleQueue });
  api.on("POST /models/digits/queue/pause", { json: { ...sampleQueue, is_paused: true } });
  api.on("POST /models/digits/queue/resume", "drop", { json: sampleQueue });
  api.on("POST /models/digits/queue/purge", { json: { ...sampleQueue, pending: 0 } });
  assert.deepEqual(await client.queue("digits"), sampleQueue);
  assert.equal((await client.pauseQueue("digits")).is_paused, true);
  assert.equal((await client.resumeQueue("digits")).is_paused, false);
  assert.equal((await client.purgeQueue("digits")).pending, 0);
});
