import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { taskJsonSchema } from "@legacygpu/shared/api/tasks";
import { SortableIds } from "@legacygpu/shared/ids";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { type Answer, GatewayRig } from "../support/gateway-rig.ts";
import { until } from "../support/until.ts";
import { completed, failedWith, WorkingAgent } from "../support/working-agent.ts";

const LIMITS = { maxTasks: 12, maxTasksPerKey: 10, maxBytes: 10_000_000, maxBytesPerKey: 10_000_000 };

let rig: GatewayRig;
let agents: WorkingAgent[] = [];

before(async () => {
  rig = await GatewayRig.start({ queueLimits: LIMITS });
  await rig.push("identity", buildIdentity());
});
afterEach(async () => {
  await Promise.all(agents.map((agent) => agent.close()));
  agents = [];
  const { body } = await rig.call("GET", "/tasks?state=PENDING");
  for (const { id } of body.tasks) await rig.call("POST", `/tasks/${id}/cancel`);
});
after(() => rig.close());

const input = { inputs: [{ name: "input", datatype: "FP32", shape: [1, 16], data: new Array(16).fill(1) }] };
const body = (more: object = {}): object => ({ model: "identity", input, ...more });
const submit = (more: object = {}, headers: Record<string, string> = {}): Promise<Answer> =>
  rig.call("POST", "/tasks", { json: body(more), headers });
const work = async (
  ...args: Parameters<typeof WorkingAgent.connect> extends [unknown, ...infer Rest] ? Rest : never
) => {
  const agent = await WorkingAgent.connect(rig, ...args);
  agents.push(agent);
  return agent;
};
const ended = async (id: string): Promise<Answer["body"]> =>
  (await rig.call("GET", `/tasks/${id}?wait=20`)).body;

describe("a task made once", () => {
  test("with an idempotency key, a repeated request finds the first task, another body is refused", async () => {
    const headers = { "idempotency-key": "order-1" };
    const first = await submit({ tags: ["x"] }, headers);
    const again = await submit({ tags: ["x"] }, headers);
    assert.equal(again.status, 202);
    assert.equal(again.body.id, first.body.id);
    assert.equal(first.headers.get("idempotency-replayed"), null);
    assert.equal(again.headers.get("idempotency-replayed"), "true");
    const other = await submit({ tags: ["y"] }, headers);
    assert.equal(other.status, 422);
    assert.equal(other.body.code, "idempotency_conflict");
    const elsewhere = await rig.call("POST", "/tasks", {
      json: body({ tags: ["y"] }),
      headers: { ...headers, authorization: `Bearer ${await rig.key("submit", "read")}` },
    });
    assert.equal(elsewhere.status, 202, "keys of other callers are their own");
  });

  test("many at once with one key make one task", async () => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => submit({}, { "idempotency-key": "at-once" })),
    );
    const made = answers.filter(({ status }) => status === 202).map(({ body: { id } }) => id);
    assert.equal(new Set(made).size, 1);
    assert.ok(
      answers.every(({ status, body: { code } }) => status === 202 || code === "idempotency_in_progress"),
    );
  });

  test("a request that was refused leaves its key free", async () => {
    const headers = { "idempotency-key": "second-try" };
    assert.equal((await submit({ model: "nothing" }, headers)).status, 404);
    assert.equal((await submit({}, headers)).status, 202);
  });

  test("with an id of the client's own", async () => {
    const id = new SortableIds().nextTaskId(Date.now());
    const put = (more: object): Promise<Answer> => rig.call("PUT", `/tasks/${id}`, { json: body(more) });
    const [first, again] = await Promise.all([put({}), put({})]);
    assert.equal(first.status, 202, JSON.stringify(first.body));
    assert.deepEqual([first.body.id, again.body.id], [id, id]);
    const other = await put({ tags: ["y"] });
    assert.equal(other.status, 409);
    assert.equal(other.body.code, "task_exists");
    const wrong = await rig.call("PUT", "/tasks/mine", { json: body() });
    assert.equal(wrong.status, 400);
    assert.match(wrong.body.detail, /id: expected `task_` and a ULID in lower case/);
  });
});

describe("looking at a task", () => {
  test("answers to the schema, with its place in the queue and a reason", async () => {
    const headers = { authorization: `Bearer ${await rig.key("submit", "read")}` };
    await submit({}, headers);
    const { body: task } = await submit(
      {
        tags: ["a"],
        metadata: { k: "v" },
        priority: "HIGH",
        retry: { max_attempts: 5 },
        deadline_ms: 60_000,
      },
      headers,
    );
    taskJsonSchema.parse(task);
    assert.deepEqual(task.queue, { position: 0 });
    assert.match(task.reason, /No worker is connected/);
    assert.equal(task.max_attempts, 5);
    assert.deepEqual(task.tags, ["a"]);
    const found = await rig.call("GET", "/tasks?tag=a", { headers });
    assert.deepEqual(
      found.body.tasks.map(({ id }: { id: string }) => id),
      [task.id],
    );
    for (const filter of ["tag=b", "site=nowhere", "state=RUNNING", "batch=batch_1"]) {
      assert.deepEqual((await rig.call("GET", `/tasks?${filter}`, { headers })).body.tasks, [], filter);
    }
    const stranger = { authorization: `Bearer ${await rig.key("read", "submit")}` };
    for (const [method, path] of [
      ["GET", ""],
      ["GET", "/result"],
      ["GET", "/events"],
      ["POST", "/cancel"],
      ["POST", "/retry"],
      ["DELETE", ""],
    ] as const) {
      const answer = await rig.call(method, `/tasks/${task.id}${path}`, { headers: stranger });
      assert.equal(answer.status, 404, `${method} ${path}`);
    }
  });

  test("with a known tag, a long poll answers at the first change, or 304 when there was none", async () => {
    const { body: task, headers } = await submit();
    const etag = headers.get("etag") ?? "";
    const path = `/tasks/${task.id}`;
    assert.equal((await rig.call("GET", path, { headers: { "if-none-match": etag } })).status, 304);
    const weakened = { "if-none-match": `"other", W/${etag.replace(/"$/, '-gzip"')}` };
    assert.equal((await rig.call("GET", path, { headers: weakened })).status, 304);
    const held = rig.call("GET", `${path}?wait=20`, { headers: { "if-none-match": etag } });
    await work("a", () => undefined);
    const changed = await held;
    assert.equal(changed.status, 200);
    assert.equal(changed.body.status, "PENDING");
    assert.equal(changed.body.attempts[0].outcome, "sent");
    assert.notEqual(changed.headers.get("etag"), etag);
  });

  test("its result: not yet, then the answer, then gone", async () => {
    const { body: task } = await submit();
    const early = await rig.call("GET", task.urls.result);
    assert.equal(early.status, 409);
    assert.equal(early.body.code, "task_not_finished");
    await work("a");
    const done = await ended(task.id);
    assert.equal(done.status, "COMPLETED");
    assert.equal(done.result_bytes, 64);
    const result = await rig.call("GET", task.urls.result);
    assert.deepEqual(result.body.outputs[0].shape, [1, 16]);
    assert.deepEqual(done.result.outputs, result.body.outputs);
    const removed = await rig.call("DELETE", `/tasks/${task.id}`);
    assert.equal(removed.body.data_removed, true);
    assert.equal(removed.body.result, null);
    const gone = await rig.call("GET", task.urls.result);
    assert.equal(gone.status, 410);
    assert.equal(gone.body.code, "result_expired");
  });

  test("deleting a task that waits cancels it first", async () => {
    const { body: task } = await submit();
    const removed = await rig.call("DELETE", `/tasks/${task.id}`);
    assert.equal(removed.body.status, "CANCELLED");
    assert.equal(removed.body.data_removed, true);
  });
});

describe("a task that failed", () => {
  test("is a dead letter when retries gave it up, and runs again when asked", async () => {
    const agent = await work("a", failedWith("transfer_failed"));
    const retry = { max_attempts: 2, backoff_ms: 1 };
    const { body: task } = await submit({ retry });
    const failed = await ended(task.id);
    assert.equal(failed.status, "FAILED");
    assert.equal(failed.dead_letter, true);
    assert.equal(failed.attempts.length, 2);
    const result = await rig.call("GET", task.urls.result);
    assert.equal(result.status, 502);
    assert.equal(result.body.code, "transfer_failed");
    const listed = await rig.call("GET", "/dead-letters");
    assert.deepEqual(
      listed.body.tasks.map(({ id }: { id: string }) => id),
      [task.id],
    );
    agent.answer = (sent) => failedWith("input_invalid", "no", false)(sent);
    const again = await rig.call("POST", `/tasks/${task.id}/retry`);
    assert.equal(again.status, 200, JSON.stringify(again.body));
    const second = await ended(task.id);
    assert.equal(second.error.code, "input_invalid");
    assert.equal(
      second.dead_letter,
      false,
      "the model's fault is nothing that an operator could mend by retrying",
    );
    assert.equal(second.attempts.length, 3);
    assert.deepEqual((await rig.call("GET", "/dead-letters")).body.tasks, []);
    const wrong = await rig.call("POST", `/tasks/${(await submit()).body.id}/retry`);
    assert.equal(wrong.status, 409);
    assert.equal(wrong.body.code, "task_not_retryable");
  });

  test("dead letters are retried and purged together", async () => {
    const agent = await work("a", failedWith("transfer_failed"));
    const ids: string[] = [];
    for (let i = 0; i < 3; i += 1) ids.push((await submit({ retry: { max_attempts: 1 } })).body.id);
    for (const id of ids) assert.equal((await ended(id)).dead_letter, true);
    const one = await rig.call("POST", "/dead-letters/purge", { json: { ids: [ids[0]] } });
    assert.deepEqual(one.body, { count: 1 });
    agent.answer = completed;
    assert.deepEqual((await rig.call("POST", "/dead-letters/retry")).body, { count: 2 });
    for (const id of ids.slice(1)) assert.equal((await ended(id)).status, "COMPLETED");
    const purged = await rig.call("POST", `/tasks/${ids[0]}/retry`);
    assert.equal(purged.body.code, "task_not_retryable");
    assert.equal(purged.body.details.dataRemoved, true);
  });
});

describe("limits", () => {
  test("the caller's own limit is 429, the system's 503, each with its value and when to come again", async () => {
    const own = { authorization: `Bearer ${await rig.key("submit", "read")}` };
    for (let i = 0; i < 10; i += 1) assert.equal((await submit({}, own)).status, 202);
    const eleventh = await submit({}, own);
    assert.equal(eleventh.status, 429);
    assert.equal(eleventh.body.code, "key_queue_full");
    assert.equal(eleventh.body.details.pending, 10);
    assert.equal(eleventh.body.details.limit, 10);
    assert.equal(eleventh.headers.get("retry-after"), "5");
    await submit();
    await submit();
    const full = await submit();
    assert.equal(full.status, 503);
    assert.equal(full.body.code, "queue_full");
    assert.ok(Number(full.headers.get("retry-after")) > 0);
    await work("a");
    await until("room again", async () => (await submit({}, own)).status === 202);
  });

  const refused: [string, object, string, RegExp][] = [
    ["an unknown key", { colour: 1 }, "", /colour/],
    ["a retry that is no retry", { retry: { max_attempts: 0 } }, "retry.max_attempts", /./],
    ["an unknown cause", { retry: { on: ["rain"] } }, "retry.on[0]", /worker_lost/],
    ["an empty placement", { placement: { sites: [] } }, "placement.sites", /./],
    ["a webhook without an address", { webhook: {} }, "webhook", /\{url\} or \{endpoint/],
    ["a durability", { durability: "perhaps" }, "durability", /flushed/],
    ["too many tags", { tags: Array.from({ length: 17 }, (_, i) => `t${i}`) }, "tags", /16/],
    ["an execution time of nothing", { execution_timeout_ms: 0 }, "execution_timeout_ms", /./],
  ];
  for (const [what, more, path, text] of refused) {
    test(`${what} is refused with its path`, async () => {
      const answer = await submit(more);
      assert.equal(answer.status, 400);
      assert.equal(answer.body.details.path, path);
      assert.match(answer.body.detail, text);
    });
  }

  test("a relaxed task says so, and runs", async () => {
    const { body: task } = await submit({ durability: "relaxed" });
    assert.equal(task.durability, "relaxed");
    await work("a");
    assert.equal((await ended(task.id)).status, "COMPLETED");
  });

  test("a webhook to a private address is refused before anything is stored", async () => {
    const answer = await submit({ webhook: { url: "https://169.254.169.254/latest" } });
    assert.equal(answer.status, 400);
    assert.equal(answer.body.code, "webhook_address_refused");
  });
});

describe("the queue of a model", () => {
  test("is paused, resumed and emptied by an administrator", async () => {
    const path = "/models/identity/queue";
    assert.equal((await rig.call("POST", `${path}/pause`)).body.is_paused, true);
    const { body: task } = await submit();
    await work("a");
    assert.match((await rig.call("GET", `/tasks/${task.id}`)).body.reason, /The queue of identity is paused/);
    const seen = await rig.call("GET", path);
    assert.equal(seen.body.pending, 1);
    assert.equal(seen.body.workers.ready, 1);
    assert.ok(seen.body.oldest_age_ms >= 0);
    assert.equal((await rig.call("POST", `${path}/purge`)).body.pending, 0);
    assert.equal((await ended(task.id)).status, "CANCELLED");
    assert.equal((await rig.call("POST", `${path}/resume`)).body.is_paused, false);
    const { body: next } = await submit();
    assert.equal((await ended(next.id)).status, "COMPLETED");
    const headers = { authorization: `Bearer ${await rig.key("submit", "read")}` };
    assert.equal((await rig.call("POST", `${path}/pause`, { headers })).status, 403);
  });
});
