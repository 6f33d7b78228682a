/** Deployments over HTTP and the agent link: fake agents that say what they have loaded, then real ones with the command line. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import type { DeploymentJson } from "@legacygpu/shared/api/deployments";
import { systemClock } from "@legacygpu/shared/clock";
import { createLogger } from "@legacygpu/shared/log";
import type { ModelRef } from "@legacygpu/shared/protocol/messages";
import { type Agent, startAgent } from "../../agent/main.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { runTestCli } from "../support/cli-rig.ts";
import { FakeAgent } from "../support/fake-agent.ts";
import { GatewayRig } from "../support/gateway-rig.ts";
import { until } from "../support/until.ts";

const INPUT = { name: "input", datatype: "FP32", shape: [1, 16], data: new Array(16).fill(0.5) };

let rig: GatewayRig;
let close: (() => Promise<unknown>)[];

beforeEach(async () => {
  close = [];
  rig = await GatewayRig.start();
  const pushed = await rig.push("id", buildIdentity());
  assert.equal(pushed.status, 201);
});
afterEach(async () => {
  try {
    // The newest first: agents before the folder that they write into.
    for (const each of close.reverse()) await each();
  } finally {
    await rig.close();
  }
});

const deploy = (json: object): ReturnType<GatewayRig["call"]> =>
  rig.call("PUT", "/models/id/deployment", { json });
const infer = (parameters: object = {}): ReturnType<GatewayRig["call"]> =>
  rig.call("POST", "/v2/models/id/infer", { json: { inputs: [INPUT], parameters } });
const deployment = async (): Promise<DeploymentJson> => (await rig.call("GET", "/models/id/deployment")).body;

async function connect(id: string, site: string): Promise<FakeAgent> {
  const agent = await FakeAgent.connect(rig, id, { site, slots: 4 });
  close.push(() => agent.close());
  return agent;
}

function says(
  agent: FakeAgent,
  { name, version }: Pick<ModelRef, "name" | "version">,
  state: "ready" | "loading",
): void {
  agent.send({ type: "model_state", name, version, state });
}

test("replicas are loaded at different sites, and alone get the tasks", async () => {
  const agents = [
    await connect("lab-1", "lab"),
    await connect("lab-2", "lab"),
    await connect("home-1", "home"),
  ];
  const made = await deploy({ min_replicas: 2 });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  assert.equal((await deploy({ min_replicas: 2, sites: ["lab", "home"] })).status, 200);
  const [first, second, third] = agents as [FakeAgent, FakeAgent, FakeAgent];
  const { model } = await first.next("load_model", ({ preload }) => preload);
  await third.next("load_model", ({ preload }) => preload);
  const ids: string[] = [];
  for (let count = 0; count < 12; count += 1)
    ids.push(
      (await rig.call("POST", "/tasks", { json: { model: "id", input: { inputs: [INPUT] } } })).body.id,
    );
  says(first, model, "ready");
  await first.next("task");
  assert.equal(third.all("task").length, 0, "it does not have it loaded yet");
  says(third, model, "ready");
  await until("both to have tasks", () => third.all("task").length > 0);
  assert.deepEqual([second.all("task").length, second.all("load_model").length], [0, 0]);
  const { replicas, state } = await deployment();
  assert.equal(state, "ready");
  assert.deepEqual(replicas.map(({ worker, site }) => [worker, site]).sort(), [
    ["home-1", "home"],
    ["lab-1", "lab"],
  ]);
  assert.equal(ids.length, 12);
});

test("who would not wait for the load is told so, and how long it takes; the model is loaded all the same", async () => {
  const agent = await connect("lab-1", "lab");
  await deploy({ min_replicas: 0, idle_ttl_seconds: 1 });
  const patient = infer();
  patient.catch(() => {});
  const { model } = await agent.next("load_model", ({ preload }) => preload);
  // A load that takes longer than what the hasty one allows.
  await new Promise((resolve) => setTimeout(resolve, 100));
  says(agent, model, "ready");
  const task = await agent.next("task");
  agent.send({
    type: "failed",
    taskId: task.taskId,
    token: task.token,
    error: { code: "input_invalid", message: "no", retryable: false },
  });
  assert.equal((await patient).status, 400);
  await agent.next("unload_model");
  const loads = agent.all("load_model").filter(({ preload }) => preload).length;
  const hasty = await infer({ timeout: 20_000 });
  assert.equal(hasty.status, 503, JSON.stringify(hasty.body));
  assert.equal(hasty.body.code, "model_loading");
  assert.ok(Number(hasty.headers.get("retry-after")) >= 1);
  await until(
    "it to be loaded",
    () => agent.all("load_model").filter(({ preload }) => preload).length > loads,
  );
});

test("what a deployment must not be, and who may not make it", async () => {
  assert.equal((await deploy({ min_replicas: 3, max_replicas: 2 })).status, 400);
  assert.equal((await deploy({ version: "9" })).body.code, "model_not_found");
  assert.equal((await rig.call("PUT", "/models/none/deployment", { json: {} })).status, 404);
  assert.equal((await rig.call("GET", "/models/id/deployment")).body.code, "deployment_not_found");
  assert.equal((await rig.call("DELETE", "/models/id/deployment")).status, 404);
  const { key } = (
    await rig.call("POST", "/keys", { json: { name: "lab", scopes: ["models"], sites: ["lab"] } })
  ).body;
  const headers = { authorization: `Bearer ${key}` };
  const ask = (method: string, json?: object): ReturnType<GatewayRig["call"]> =>
    rig.call(method, "/models/id/deployment", { headers, ...(json === undefined ? {} : { json }) });
  assert.equal((await ask("PUT", { sites: ["home"] })).status, 403);
  assert.deepEqual((await ask("PUT", {})).body.sites, ["lab"]);
  await deploy({});
  assert.equal((await ask("DELETE")).status, 403);
  assert.equal((await rig.call("DELETE", "/models/id/deployment")).status, 204);
});

test("real agents: from zero to one at the first request and back, as the command line shows it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "legacygpu-placement-"));
  close.push(() => rm(folder, { recursive: true, force: true }));
  const agents = await Promise.all(["w1", "w2"].map((id) => startReal(id, join(folder, id))));
  const env = {
    LEGACYGPU_HOME: folder,
    LEGACYGPU_URL: rig.url,
    LEGACYGPU_CA: rig.gateway.caFile ?? "",
    LEGACYGPU_KEY: rig.adminKey,
  };
  const run = (...argv: string[]): ReturnType<typeof runTestCli> => runTestCli(argv, { env });
  await until("the agents to be online", () => agents.every((agent) => agent.status().link === "online"));

  const made = await run(
    "model",
    "deploy",
    "id",
    "--min-replicas",
    "0",
    "--max-replicas",
    "1",
    "--idle-ttl",
    "2s",
  );
  assert.deepEqual([made.code, made.err], [0, ""]);
  assert.match(made.out, /^idle +unloaded after 2\.0 s without a task$/m);
  assert.match((await run("model", "deployments")).out, /^id@1 +idle +0 of 0 \(0 to 1\)/m);

  const chosen: (string | undefined)[] = [];
  for (const round of ["cold", "warm disk"]) {
    const answer = await infer();
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    const { out } = await run("model", "deployments");
    assert.match(
      out,
      /^id@1 +ready +1 of 1 \(0 to 1\) +0 +w[12] +default-site +ready +cpu +\S+ m?s \(transfer .*, load .*, warm-up .*\)$/m,
      round,
    );
    chosen.push((await deployment()).replicas[0]?.worker);
    await until("it to be unloaded", async () => (await deployment()).replicas.length === 0);
    assert.equal((await deployment()).state, "idle");
  }
  const { cold_start: coldStart } = await deployment();
  assert.ok(coldStart !== null && coldStart.total_ms >= (coldStart.load_ms ?? Number.POSITIVE_INFINITY));
  assert.equal(chosen[0], chosen[1], "the second time it goes where the file is");

  assert.equal((await run("model", "undeploy", "id")).out, "id is not deployed any more.\n");
  assert.match((await run("model", "deployments")).out, /^No model is deployed/);
  assert.equal((await infer()).status, 200);
});

async function startReal(workerId: string, stateDir: string): Promise<Agent> {
  const agent = await startAgent({
    url: rig.wssUrl,
    key: await rig.key("worker"),
    caPem: rig.gateway.caPem,
    stateDir,
    workerId,
    site: "default-site",
    providers: ["cpu"],
    sharing: "off",
    log: createLogger("agent", "silent"),
    clock: systemClock,
    random: Math.random,
  });
  close.push(() => agent.close());
  return agent;
}
