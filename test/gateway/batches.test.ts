import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { batchJsonSchema, batchResultSchema } from "@legacygpu/shared/api/batches";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { type Answer, GatewayRig } from "../support/gateway-rig.ts";
import { until } from "../support/until.ts";
import { completed, failedWith, WorkingAgent } from "../support/working-agent.ts";

let rig: GatewayRig;

before(async () => {
  rig = await GatewayRig.start();
  await rig.push("identity", buildIdentity());
});
after(() => rig.close());

const item = (reference?: string, value = 1): object => ({
  input: {
    inputs: [{ name: "input", datatype: "FP32", shape: [1, 16], data: new Array(16).fill(value) }],
  },
  ...(reference === undefined ? {} : { external_reference: reference }),
});
const create = (items: object[], more: object = {}): Promise<Answer> =>
  rig.call("POST", "/batches", { json: { model: "identity", items, ...more } });
const resultsOf = async (id: string) => {
  const { body } = await rig.call("GET", `/batches/${id}/results`);
  return (body as string)
    .trim()
    .split("\n")
    .map((line) => batchResultSchema.parse(JSON.parse(line)));
};

test("many inputs in one call: counted, answered in order, and more can be added", async () => {
  const made = await create([item("a"), item("b")], { tags: ["night"], priority: "LOW" });
  assert.equal(made.status, 202, JSON.stringify(made.body));
  batchJsonSchema.parse(made.body);
  assert.deepEqual([made.body.counts.total, made.body.counts.pending], [2, 2]);
  const { id } = made.body;
  const more = await rig.call("POST", `/batches/${id}/items`, { json: { items: [item("c")] } });
  assert.equal(more.body.counts.total, 3);
  let isFirst = true;
  const agent = await WorkingAgent.connect(rig, "a", (task) => {
    const answer = isFirst ? failedWith("input_invalid", "too dark", false)(task) : completed(task);
    isFirst = false;
    return answer;
  });
  await until(
    "the batch has ended",
    async () => (await rig.call("GET", `/batches/${id}`)).body.status === "COMPLETED",
  );
  const { body } = await rig.call("GET", `/batches/${id}`);
  assert.deepEqual([body.counts.completed, body.counts.failed, body.counts.pending], [2, 1, 0]);
  const results = await resultsOf(id);
  assert.deepEqual(
    results.map(({ index, external_reference: reference }) => [index, reference]),
    [
      [0, "a"],
      [1, "b"],
      [2, "c"],
    ],
  );
  assert.equal(results.filter(({ result }) => result !== null).length, 2);
  assert.equal(results.find(({ error }) => error !== null)?.error?.message, "too dark");
  const listed = await rig.call("GET", `/tasks?batch=${id}&tag=night`);
  assert.equal(listed.body.tasks.length, 3);
  assert.equal(listed.body.tasks[0].priority, "LOW");
  const retried = results.find(({ status }) => status === "FAILED");
  await rig.call("POST", `/tasks/${retried?.task}/retry`);
  await until(
    "all completed",
    async () => (await rig.call("GET", `/batches/${id}`)).body.counts.completed === 3,
  );
  await agent.close();
});

test("one wrong input refuses all, with its place; nothing is stored", async () => {
  const before = (await rig.call("GET", "/tasks")).body.tasks.length;
  const answer = await create([
    item(),
    { input: { inputs: [{ name: "x", datatype: "FP32", shape: [1], data: [1] }] } },
  ]);
  assert.equal(answer.status, 400);
  assert.equal(answer.body.details.path, "items[1].input.inputs[0].name");
  const twice = await create([item("a"), item("a")]);
  assert.equal(twice.body.details.path, "items[1].external_reference");
  assert.equal((await rig.call("GET", "/tasks")).body.tasks.length, before);
});

test("a batch is cancelled whole, found again by its idempotency key, and seen by its owner only", async () => {
  const headers = { "idempotency-key": "night-run" };
  const json = { model: "identity", items: [item(), item(), item()] };
  const made = await rig.call("POST", "/batches", { json, headers });
  const again = await rig.call("POST", "/batches", { json, headers });
  assert.equal(again.body.id, made.body.id);
  assert.equal(again.headers.get("idempotency-replayed"), "true");
  const stranger = { authorization: `Bearer ${await rig.key("submit", "read")}` };
  assert.equal(
    (await rig.call("GET", made.body.urls.self, { headers: stranger })).body.code,
    "batch_not_found",
  );
  const more = { json: { items: [item("x")] }, headers: { "idempotency-key": "more" } };
  await rig.call("POST", made.body.urls.items, more);
  const added = await rig.call("POST", made.body.urls.items, more);
  assert.equal(added.body.counts.total, 4, "sent twice, added once");
  const known = await rig.call("POST", made.body.urls.items, { json: { items: [item("x")] } });
  assert.equal(known.body.details.path, "items[0].external_reference");
  const cancelled = await rig.call("POST", made.body.urls.cancel);
  assert.equal(cancelled.body.status, "COMPLETED");
  assert.equal(cancelled.body.counts.cancelled, 4);
});
