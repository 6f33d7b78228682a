/** Models as the protocol shows them: metadata, configuration, index, load and unload, logging. */

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { GraphBuilder } from "../../../models/onnx/graph-builder.ts";
import { buildIdentity } from "../../../models/onnx/synthetic.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { type Answer, GatewayRig } from "../../support/gateway-rig.ts";
import { until } from "../../support/until.ts";
import { ProtocolRig } from "./protocol-rig.ts";

let rig: GatewayRig;
let agents: FakeAgent[];

before(async () => {
  rig = await GatewayRig.start();
});
after(() => rig.close());
beforeEach(() => {
  agents = [];
});
afterEach(async () => {
  for (const agent of agents) await agent.close();
  await until("the workers to be gone", async () => (await workers()) === 0);
});

async function workers(): Promise<number> {
  return (await rig.call("GET", "/cluster/workers")).body.workers.length;
}

async function connect(id: string, more: Parameters<typeof FakeAgent.connect>[2] = {}): Promise<FakeAgent> {
  const agent = await FakeAgent.connect(rig, id, more);
  agents.push(agent);
  return agent;
}

type State = "cached" | "downloading" | "loading" | "ready" | "failed" | "unloaded";
const say = (agent: FakeAgent, name: string, state: State, more: object = {}): void =>
  agent.send({ type: "model_state", name, version: "1", state, ...more });
const load = (name: string): Promise<Answer> => rig.call("POST", `/v2/repository/models/${name}/load`);
const entryOf = async (name: string): Promise<{ state?: string; reason?: string } | undefined> =>
  (await rig.call("POST", "/v2/repository/index")).body.find((each: { name: string }) => each.name === name);

async function pushIdentity(name: string, ...rest: [manifest?: object, version?: string]): Promise<void> {
  const [manifest = {}, version = "1"] = rest;
  const answer = await rig.push(name, buildIdentity(), manifest, version);
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
}

test("the server tells its name, its version and what it can do", async () => {
  const { status, body } = await rig.call("GET", "/v2");
  assert.equal(status, 200);
  assert.equal(body.name, "legacygpu");
  assert.equal(typeof body.version, "string");
  assert.deepEqual(body.extensions, [
    "binary_tensor_data",
    "classification",
    "logging",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
  ]);
  assert.deepEqual((await rig.call("GET", "/v2/")).body, body);
});

test("health is JSON, and ready with the first worker", async () => {
  assert.deepEqual((await rig.call("GET", "/v2/health/live")).body, { live: true });
  assert.equal((await rig.call("GET", "/v2/health/ready")).status, 503);
  await connect("one");
  assert.deepEqual((await rig.call("GET", "/v2/health/ready")).body, { ready: true });
});

test("metadata has all versions, or the one that was asked for", async () => {
  await pushIdentity("versions");
  await pushIdentity("versions", { description: "the second" }, "2");
  const all = (await rig.call("GET", "/v2/models/versions?unknown=1")).body;
  assert.deepEqual(all, {
    name: "versions",
    versions: ["1", "2"],
    platform: "onnxruntime_onnx",
    inputs: [{ name: "input", datatype: "FP32", shape: [-1, 16] }],
    outputs: [{ name: "output", datatype: "FP32", shape: [-1, 16] }],
  });
  const one = (await rig.call("GET", "/v2/models/versions/versions/1")).body;
  assert.deepEqual(one, { ...all, versions: ["1"] });
});

test("the configuration of a model without batches has whole shapes, and no key that would be read as a wish", async () => {
  const graph = new GraphBuilder("texts");
  graph.output("y", "BYTES", ["N", 2], graph.input("x", "BYTES", ["N", 2]));
  assert.equal((await rig.push("texts", graph.encode())).status, 201);
  const { body } = await rig.call("GET", "/v2/models/texts/config");
  assert.deepEqual(body, {
    name: "texts",
    platform: "onnxruntime_onnx",
    backend: "onnxruntime",
    default_model_filename: "model.onnx",
    max_batch_size: 0,
    input: [{ name: "x", data_type: "TYPE_STRING", dims: [-1, 2] }],
    output: [{ name: "y", data_type: "TYPE_STRING", dims: [-1, 2] }],
    instance_group: [{ count: 1, kind: "KIND_AUTO" }],
  });
});

test("the configuration of a model with batches has dimensions without the batch", async () => {
  await pushIdentity("batches", {
    batching: { max_size: 8, max_delay_ms: 2 },
    requirements: { providers: ["cpu"] },
    concurrency: 3,
  });
  const { body } = await rig.call("GET", "/v2/models/batches/versions/1/config");
  assert.equal(body.max_batch_size, 8);
  assert.deepEqual(body.input, [{ name: "input", data_type: "TYPE_FP32", dims: [16] }]);
  assert.deepEqual(body.dynamic_batching, { max_queue_delay_microseconds: 2000 });
  assert.deepEqual(body.instance_group, [{ count: 3, kind: "KIND_CPU" }]);
  assert.deepEqual((await rig.call("GET", "/v2/models/batches")).body.inputs[0].shape, [-1, 16]);
});

test("load asks every worker that could run the model, and answers when the first has it", async () => {
  await pushIdentity("wanted", { requirements: { providers: ["cuda"] } });
  assert.deepEqual(await entryOf("wanted"), { name: "wanted" });
  const [able, second] = [
    await connect("able", { providers: ["cuda", "cpu"] }),
    await connect("second", { providers: ["cuda"] }),
  ];
  const other = await connect("other", { providers: ["cpu"] });
  const answer = load("wanted");
  const order = await able.next("load_model");
  assert.equal(order.preload, true);
  assert.equal(order.model.name, "wanted");
  await second.next("load_model");
  say(able, "wanted", "downloading", { receivedBytes: Math.ceil(order.model.fileBytes / 2) });
  const loading = await until("the index to show the progress", async () => {
    const entry = await entryOf("wanted");
    return entry?.state === "LOADING" ? entry : undefined;
  });
  assert.match(loading.reason ?? "", /^loading on 1 of 3 workers \((4|5)\d %, about \d+ s\)$/);
  say(able, "wanted", "loading");
  say(able, "wanted", "ready", { provider: "cuda" });
  const { status, body } = await answer;
  assert.deepEqual([status, body], [200, { name: "wanted", load: true }]);
  assert.deepEqual(await entryOf("wanted"), { name: "wanted", version: "1", state: "READY" });
  assert.equal((await rig.call("GET", "/v2/models/wanted/ready")).status, 200);
  assert.deepEqual(other.all("load_model"), []);
  const ready = await rig.call("POST", "/v2/repository/index", { json: { ready: true } });
  assert.deepEqual(
    ready.body.map(({ name }: { name: string }) => name),
    ["wanted"],
  );
});

test("a load that fails everywhere says why", async () => {
  await pushIdentity("broken");
  const agent = await connect("one");
  const answer = load("broken");
  await agent.next("load_model");
  say(agent, "broken", "failed", { reason: "no kernel for Foo" });
  const { status, body } = await answer;
  assert.deepEqual([status, body], [500, { error: "failed to load 'broken', no kernel for Foo" }]);
  assert.deepEqual(await entryOf("broken"), {
    name: "broken",
    version: "1",
    state: "UNAVAILABLE",
    reason: "no kernel for Foo",
  });
});

test("unload tells the workers that have the model, and its next task announces it anew", async () => {
  await pushIdentity("dropped");
  const agent = await connect("one");
  const answer = load("dropped");
  await agent.next("load_model");
  say(agent, "dropped", "ready");
  assert.equal((await answer).status, 200);
  const unloaded = await rig.call("POST", "/v2/repository/models/dropped/unload", {
    json: { parameters: { unload_dependents: false } },
  });
  assert.deepEqual([unloaded.status, unloaded.body], [200, { name: "dropped", unload: true }]);
  assert.equal((await agent.next("unload_model")).name, "dropped");
  assert.equal((await rig.call("GET", "/v2/models/dropped/ready")).status, 503);
  assert.equal((await entryOf("dropped"))?.state, "UNAVAILABLE");
  const inputs = [{ name: "input", datatype: "FP32", shape: [1, 16], data: new Array(16).fill(0) }];
  await rig.call("POST", "/tasks", { json: { model: "dropped", input: { inputs } } });
  await agent.next("task");
  assert.deepEqual(
    agent.all("load_model").map(({ preload }) => preload),
    [true, false],
  );
});

test("the log settings are shown and changed, and what cannot be is refused", async () => {
  const shown = { log_file: "", log_verbose_level: 0, log_format: "default" };
  const off = { ...shown, log_info: false, log_warning: false, log_error: false };
  assert.deepEqual((await rig.call("GET", "/v2/logging")).body, off);
  const warns = { ...shown, log_info: false, log_warning: true, log_error: true };
  assert.deepEqual((await rig.call("POST", "/v2/logging", { json: { log_warning: true } })).body, warns);
  assert.deepEqual((await rig.call("GET", "/v2/logging")).body, warns);
  const refused = await rig.call("POST", "/v2/logging", { json: { log_file: "/etc/passwd" } });
  assert.equal(refused.status, 400);
  assert.match(refused.body.error, /log_file/);
  const silent = { log_warning: false, log_error: false };
  assert.deepEqual((await rig.call("POST", "/v2/logging", { json: silent })).body, off);
});

test("a real worker loads on demand, forgets, and loads again", async (t) => {
  const real = await ProtocolRig.start();
  t.after(() => real.close());
  await real.pushIdentity("m", "FP32", ["N"]);
  await real.startAgent();
  const ready = async (): Promise<number> => (await real.gateway.call("GET", "/v2/models/m/ready")).status;
  for (const _ of [1, 2]) {
    assert.equal(await ready(), 503);
    const loaded = await real.gateway.call("POST", "/v2/repository/models/m/load");
    assert.deepEqual([loaded.status, loaded.body], [200, { name: "m", load: true }]);
    assert.equal(await ready(), 200);
    assert.equal((await real.gateway.call("POST", "/v2/repository/models/m/unload")).status, 200);
  }
  const inputs = [{ name: "x", datatype: "FP32", shape: [1], data: [4] }];
  assert.deepEqual((await real.infer("m", { inputs })).json.outputs[0].data, [4]);
  await until("the model to be ready by being used", async () => (await ready()) === 200);
});
