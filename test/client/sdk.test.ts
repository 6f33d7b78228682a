/** The SDK against a real HTTPS server: what it sends, what it makes of the answers, and that it leaves nothing behind. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, afterEach, before, test } from "node:test";
import { digestOf, LegacyGpuClient, LegacyGpuError, resultOf, type TaskJson } from "../../client/index.ts";
import { type PinnedFetch, pinnedFetch } from "../../client/pinned-fetch.ts";
import { inferResponseSchema } from "../../shared/api/inference.ts";
import {
  completedTask,
  failedTask,
  sampleHealth,
  sampleKey,
  sampleMetrics,
  sampleModel,
  sampleTask,
  sampleWorker,
} from "../support/api-samples.ts";
import { FakeApi, problem } from "../support/fake-api.ts";

const PNG = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 1, 2, 3]);

let api: FakeApi;
let fetch: PinnedFetch;
let client: LegacyGpuClient;

before(async () => {
  api = await FakeApi.start();
  fetch = pinnedFetch({ caPem: api.caPem });
  client = new LegacyGpuClient({ url: `${api.url}/`, key: "lgk_test", fetch });
});
afterEach(() => api.reset());
after(async () => {
  await fetch.close();
  await api.close();
});

async function caught(work: Promise<unknown>): Promise<LegacyGpuError> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof LegacyGpuError, String(error));
    return error;
  }
  assert.fail("nothing was thrown");
}

test("submit sends the task as JSON with the key and returns the task", async () => {
  api.on("POST /tasks", { status: 202, json: sampleTask() });
  const input = { inputs: [{ name: "x", datatype: "FP32" as const, shape: [1], data: [1] }] };
  const task = await client.submit({ model: "digits", input, priority: "HIGH" });
  assert.equal(task.id, "task_1");
  const [request] = api.requests;
  assert.equal(request?.headers.authorization, "Bearer lgk_test");
  assert.equal(request?.headers["content-type"], "application/json");
  assert.deepEqual(JSON.parse(request?.body.toString() ?? ""), { model: "digits", input, priority: "HIGH" });
});

test("submitImage sends the bytes as they are, with the type told from them", async () => {
  api.on("POST /tasks", { status: 202, json: sampleTask() });
  await client.submitImage("digits", PNG, { priority: "LOW", deadlineMs: 500, version: "2" });
  const [request] = api.requests;
  assert.equal(request?.headers["content-type"], "image/png");
  assert.equal(request?.query.toString(), "model=digits&version=2&priority=LOW&deadline_ms=500");
  assert.deepEqual(request?.body, Buffer.from(PNG));
});

test("submitImage refuses bytes that are no picture before it sends anything", async () => {
  assert.equal(
    (await caught(client.submitImage("digits", Uint8Array.from([1, 2, 3])))).code,
    "image_invalid",
  );
  assert.equal(api.requests.length, 0);
});

test("run submits, then polls until the task has ended, and tells of each change once", async () => {
  const running = sampleTask({ status: "RUNNING", attempt: 1 });
  const waiting = sampleTask({ reason: "no worker has the model" });
  api.on("POST /tasks", { status: 202, json: sampleTask() });
  api.on(
    "GET /tasks/task_1",
    { json: waiting },
    { json: waiting },
    { json: running },
    { json: completedTask() },
  );
  const updates: string[] = [];
  const onUpdate = ({ status, reason }: TaskJson): void => void updates.push(reason ?? status);
  const task = await client.run({ model: "digits", input: { image: "AAAA" } }, { onUpdate });
  assert.deepEqual(updates, ["no worker has the model", "RUNNING", "COMPLETED"]);
  assert.equal(resultOf(task).predictions?.[0]?.label, "7");
  const waits = api.requests.slice(1).map(({ query }) => Number(query.get("wait")));
  assert.deepEqual(waits, [0, 5, 5, 5], "whoever watches is told at once how it stands");
});

test("wait returns a task that failed; resultOf throws its error", async () => {
  api.on("GET /tasks/task_1", { json: failedTask() });
  const task = await client.wait("task_1");
  assert.equal(task.status, "FAILED");
  assert.throws(() => resultOf(task), { code: "model_run_failed" });
});

test("wait gives up after its time with the last known state, and the task goes on", async () => {
  let polls = 0;
  api.on("GET /tasks/task_1", () => {
    polls += 1;
    return { json: sampleTask({ reason: "no healthy worker" }) };
  });
  const error = await caught(client.wait("task_1", { timeoutMs: 250 }));
  assert.equal(error.code, "timed_out");
  assert.match(error.message, /goes on\. It is PENDING: no healthy worker/);
  assert.ok(polls <= 5, `${polls} polls in 250 ms: a gateway that does not hold a poll must not be hammered`);
});

test("wait bridges a gateway that is away for a while", async () => {
  const troubles: string[] = [];
  api.on("GET /tasks/task_1", problem("gateway_draining"), "drop", { json: completedTask() });
  const task = await client.wait("task_1", { onTrouble: ({ code }) => void troubles.push(code) });
  assert.equal(task.status, "COMPLETED");
  assert.deepEqual(troubles, ["gateway_draining", "gateway_unreachable"]);
});

test("wait does not bridge what no patience can heal", async () => {
  api.on("GET /tasks/task_1", problem("task_not_found"));
  assert.equal((await caught(client.wait("task_1"))).code, "task_not_found");
});

test("an aborted call throws the reason of its signal and lets go of the connection", async () => {
  api.on("GET /tasks/task_1", "hang");
  const stop = new AbortController();
  const waiting = client.wait("task_1", { signal: stop.signal });
  while (api.requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
  stop.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
  await assert.rejects(client.get("task_1", stop.signal), /enough/);
});

test("infer addresses the model and, if asked, its version", async () => {
  const response = inferResponseSchema.parse(completedTask().result);
  api.on("POST /v2/models/digits/infer", { json: response });
  api.on("POST /v2/models/digits/versions/2/infer", { json: response });
  const request = { inputs: [{ name: "x", datatype: "FP32" as const, shape: [1], data: [1] }] };
  assert.equal((await client.infer("digits", request)).predictions?.[0]?.label, "7");
  await client.infer("digits", request, { version: "2" });
  assert.deepEqual(
    api.requests.map(({ path }) => path),
    ["/v2/models/digits/infer", "/v2/models/digits/versions/2/infer"],
  );
});

test("ids from outside cannot leave their place in the address", async () => {
  await caught(client.get("../cluster/health?x="));
  assert.equal(api.requests[0]?.path, "/tasks/../cluster/health?x=");
  assert.equal(api.requests[0]?.query.size, 0);
});

test("the cluster, models and keys", async () => {
  api.on("GET /cluster/health", { json: sampleHealth });
  api.on("GET /cluster/metrics", { json: sampleMetrics });
  api.on("GET /cluster/workers", { json: { workers: [sampleWorker()] } });
  api.on("PUT /cluster/config/balancing", { json: { status: "success", new_strategy: "ADAPTIVE" } });
  api.on("GET /models", { json: { models: [sampleModel()] } });
  api.on("POST /keys", { status: 201, json: { ...sampleKey, key: "lgk_new" } });
  api.on("GET /keys", { json: { keys: [sampleKey] } });
  api.on("POST /keys/abcdefghij/rotate", {
    status: 201,
    json: { ...sampleKey, id: "newer", replaces: "abcdefghij", key: "lgk_newer" },
  });
  api.on("DELETE /keys/abcdefghij", {
    status: 200,
    json: { ...sampleKey, revoked_at: "2026-01-02T03:04:06.000Z" },
  });
  api.on("DELETE /keys/other", { status: 200, text: "" });
  api.on("GET /tasks", { json: { tasks: [sampleTask()], next_cursor: "c" } });
  api.on("POST /tasks/task_1/cancel", { json: sampleTask({ status: "CANCELLED" }) });
  assert.deepEqual(await client.health(), sampleHealth);
  assert.deepEqual(await client.metrics(), sampleMetrics);
  assert.equal((await client.workers())[0]?.id, "box");
  assert.equal(await client.setStrategy("ADAPTIVE"), "ADAPTIVE");
  assert.equal((await client.models())[0]?.name, "digits");
  assert.equal((await client.createKey({ name: "laptop", scopes: ["read"] })).key, "lgk_new");
  assert.equal((await client.listKeys())[0]?.name, "laptop");
  assert.equal((await client.rotateKey("abcdefghij", { grace: 60 })).replaces, "abcdefghij");
  assert.deepEqual(JSON.parse(api.requests.at(-1)?.body.toString() ?? ""), { grace: 60 });
  assert.notEqual((await client.revokeKey("abcdefghij"))?.revoked_at, null);
  assert.equal(await client.revokeKey("other"), undefined);
  assert.equal((await client.list({ state: "PENDING", limit: 5 })).next_cursor, "c");
  assert.equal(api.requests.at(-1)?.query.toString(), "state=PENDING&limit=5");
  assert.equal((await client.cancel("task_1")).status, "CANCELLED");
});

test("pushModel sends the file by digest, then the next version", async () => {
  const file = new TextEncoder().encode("onnx");
  const digest = `sha256:${createHash("sha256").update(file).digest("hex")}`;
  assert.equal(await digestOf(file), digest);
  api.on("GET /models", {
    json: { models: [sampleModel({ version: "3" }), sampleModel({ name: "other", version: "9" })] },
  });
  api.on(`PUT /blobs/${digest}`, { status: 201, json: { digest, offset: 4, complete: true } });
  api.on("PUT /models/digits/versions/4", { status: 201, json: sampleModel({ version: "4", file: digest }) });
  const model = await client.pushModel({ name: "digits", file, manifest: { description: "d" } });
  assert.equal(model.version, "4");
  const [, blob, version] = api.requests;
  assert.equal(blob?.headers["content-length"], "4");
  assert.deepEqual(blob?.body, Buffer.from(file));
  assert.deepEqual(JSON.parse(version?.body.toString() ?? ""), {
    file: digest,
    manifest: { description: "d" },
  });
});

test("pushModel of what is there sends no file and makes no new version", async () => {
  const file = new TextEncoder().encode("onnx");
  const digest = await digestOf(file);
  api.on("GET /models", { json: { models: [sampleModel({ version: "3", file: digest })] } });
  api.on("PUT /models/digits/versions/3", { json: sampleModel({ version: "3", file: digest }) });
  assert.equal((await client.pushModel({ name: "digits", file })).version, "3");
  api.on("PUT /models/digits/versions/3", problem("model_version_exists"));
  api.on("PUT /models/digits/versions/4", { json: sampleModel({ version: "4", file: digest }) });
  assert.equal(
    (await client.pushModel({ name: "digits", file, manifest: { description: "new" } })).version,
    "4",
  );
  assert.ok(!api.requests.some(({ path }) => path.startsWith("/blobs/")));
});

test("pushModel asks where a large file stands, streams the rest with its length, and asks again after a refusal", async () => {
  const chunk = new Uint8Array(1_000_000).fill(7);
  const opened: number[] = [];
  const open = (offsetBytes: number): ReadableStream<Uint8Array> => {
    opened.push(offsetBytes);
    let left = (20_000_000 - offsetBytes) / chunk.byteLength;
    return new ReadableStream({
      pull(controller) {
        left -= 1;
        controller.enqueue(chunk);
        if (left === 0) controller.close();
      },
    });
  };
  const digest = `sha256:${"b".repeat(64)}`;
  const file = { digest, sizeBytes: 20_000_000, open };
  api.on(
    `GET /blobs/${digest}/upload`,
    { json: { digest, offset: 5_000_000, complete: false } },
    { json: { digest, offset: 8_000_000, complete: false } },
  );
  api.on(`PUT /blobs/${digest}`, problem("gateway_draining"), {
    json: { digest, offset: 20_000_000, complete: true },
  });
  api.on("PUT /models/big/versions/1", { json: sampleModel({ name: "big", file: digest }) });
  await client.pushModel({ name: "big", version: "1", file });
  assert.deepEqual(opened, [5_000_000, 8_000_000]);
  const [, , , second] = api.requests;
  assert.equal(second?.query.toString(), "offset=8000000&bytes=20000000");
  assert.equal(second?.body.byteLength, 12_000_000);
  assert.equal(second?.headers["content-length"], "12000000");
});

test("problems become errors with code, details and the id of the request", async () => {
  api.on("GET /tasks/task_1", problem("task_not_found", "There is no task task_1."));
  const error = await caught(client.get("task_1"));
  assert.equal(error.code, "task_not_found");
  assert.equal(error.status, 404);
  assert.equal(error.message, "There is no task task_1.");
  assert.equal(error.details.request_id, "req_1");
});

test("a code that this version does not know becomes unknown with the original kept", async () => {
  const json = {
    status: 418,
    code: "teapot",
    detail: "short and stout",
    error: "short and stout",
    retryable: false,
  };
  api.on("GET /tasks/task_1", { status: 418, json });
  const error = await caught(client.get("task_1"));
  assert.equal(error.code, "unknown");
  assert.equal(error.details.originalCode, "teapot");
});

test("an answer in another form says so and shows its beginning", async () => {
  api.on("GET /tasks/task_1", {
    status: 502,
    text: "<html>Bad Gateway",
    headers: { "content-type": "text/html" },
  });
  const error = await caught(client.get("task_1"));
  assert.equal(error.code, "unknown");
  assert.equal(error.details.status, 502);
  assert.match(error.message, /answered 502 .* proxy .* <html>Bad Gateway/);
  api.on("GET /tasks/task_2", { json: { id: 7 } });
  assert.match(
    (await caught(client.get("task_2"))).message,
    /GET \/tasks\/task_2 is not of the expected form \(id: /,
  );
});
