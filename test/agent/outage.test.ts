/** A real agent behind a network that fails in every way: work goes on, nothing is lost, and it comes back by itself. */

import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { decodeValue, encodeValue } from "@legacygpu/shared/protocol/codec";
import type { ModelRef, TaskOutput } from "@legacygpu/shared/protocol/messages";
import { buildEndlessLoop, buildSlow } from "../../models/onnx/hostile.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { AgentRig, type AgentRigOptions } from "../support/agent-rig.ts";
import { type FakeGateway, fakeTask, floats } from "../support/fake-gateway.ts";
import type { FaultProxy } from "../support/fault-proxy.ts";
import { until } from "../support/until.ts";
import { startAgentToKill } from "./killed-agent.ts";

async function withRig(options: AgentRigOptions, run: (rig: AgentRig) => Promise<void>): Promise<void> {
  const rig = await AgentRig.start({ isProxied: true, ...options });
  try {
    await run(rig);
  } finally {
    await rig.close();
  }
}

/** About a second of computing: long enough to cut the link meanwhile. */
const slowInput = { kind: "tensors" as const, tensors: [floats("input", [1, 384], 1)] };
const WIDE = 65_536;
const wideInput = { kind: "tensors" as const, tensors: [floats("input", [1, WIDE], 7)] };

async function ready(gateway: FakeGateway, name: string, file: Uint8Array): Promise<ModelRef> {
  const model = gateway.addModel(name, file);
  await gateway.next("hello");
  gateway.send({ type: "load_model", model, preload: true });
  await gateway.next("model_state", (message) => message.name === name && message.state === "ready");
  return model;
}
const slowModel = (gateway: FakeGateway, rounds = 200): Promise<ModelRef> =>
  ready(gateway, "slow", buildSlow({ rounds, size: 384 }));
const spoolOf = ({ stateDir }: { stateDir: string }): Promise<string[]> => readdir(join(stateDir, "spool"));

test("a link that is cut and refused: computing goes on, the results wait on the disk and arrive once", async () => {
  await withRig({}, async (rig) => {
    const { gateway, agent, proxy } = rig;
    const slow = await slowModel(gateway);
    const wide = await ready(gateway, "wide", buildIdentity({ size: WIDE }));
    const first = fakeTask(slow, { input: slowInput });
    const body = encodeValue(wideInput);
    const second = fakeTask(wide, { input: { kind: "beside", sizeBytes: body.length } });
    const address = `${second.taskId}/${second.token}`;
    gateway.inputs.set(address, body);
    gateway.send(first, second);
    await until("the second to wait for the first", () => agent.status().runner.queued === 1);
    proxy.refuse(true);
    proxy.cut();
    await until("both results on the disk", () => agent.status().spooled === 2);
    const files = [first, second].map(({ token }) => `${token}.outcome`);
    assert.deepEqual((await spoolOf(rig)).sort(), files.sort());
    assert.deepEqual([gateway.all("result"), gateway.outputs.size], [[], 0]);
    proxy.refuse(false);
    await gateway.result(first.token);
    await gateway.result(second.token);
    const stored = decodeValue(gateway.outputs.get(address) ?? new Uint8Array()) as TaskOutput;
    assert.deepEqual(stored.tensors[0]?.data, wideInput.tensors[0]?.data);
    await until("the delivery to be confirmed", () => agent.status().held === 0);
    await until("the disk to be empty", async () => (await spoolOf(rig)).length === 0);
    assert.equal(gateway.all("result").length, 2);
  });
});

test("what a killed agent has finished is announced and delivered by the next one; what it was running is not", async (context) => {
  const killed = await startAgentToKill(context);
  const { gateway, proxy } = killed;
  const slow = await slowModel(gateway);
  const endless = await ready(gateway, "endless", buildEndlessLoop());
  const finished = fakeTask(slow, { input: slowInput });
  const running = fakeTask(endless, { input: { kind: "tensors", tensors: [floats("input", [1], 1)] } });
  gateway.send(finished, running);
  await gateway.next("accepted");
  proxy.refuse(true);
  proxy.cut();
  const { token, taskId } = finished;
  const isStored = async (): Promise<boolean> => (await spoolOf(killed)).includes(`${token}.outcome`);
  await until("the result on the disk", isStored);
  killed.kill();
  proxy.refuse(false);
  const next = await killed.followedBy();
  const { instanceId } = next.agent.status();
  const hello = await gateway.next("hello", (message) => message.instanceId === instanceId);
  assert.deepEqual(hello.held, [{ taskId, token }]);
  assert.equal(hello.workerId, gateway.all("hello")[0]?.workerId);
  await gateway.result(token);
  await until("the disk to be empty", async () => (await spoolOf(killed)).length === 0);
});

test("transfers that were under way when the link was lost go on when it is back", async () => {
  await withRig({}, async ({ gateway, agent, proxy }) => {
    const wide = gateway.addModel("wide", buildIdentity({ size: WIDE }));
    await gateway.next("hello");
    const body = encodeValue(wideInput);
    const task = fakeTask(wide, { input: { kind: "beside", sizeBytes: body.length } });
    gateway.inputs.set(`${task.taskId}/${task.token}`, body);
    proxy.throttle(50_000);
    gateway.send({ type: "load_model", model: wide, preload: false }, task);
    const isAsked = (): boolean => gateway.requests.some((path) => path.endsWith("/input"));
    await until("the input to be asked for", isAsked);
    proxy.refuse(true);
    proxy.cut();
    await until("the link to be gone", () => agent.status().link !== "online");
    proxy.throttle(undefined);
    proxy.refuse(false);
    await gateway.result(task.token);
    assert.deepEqual(gateway.all("failed"), []);
  });
});

/** What the network does, and what ends it. */
const FAULTS: readonly [
  name: string,
  begin: (proxy: FaultProxy) => void,
  end: (proxy: FaultProxy) => void,
][] = [
  ["freezes", (proxy) => proxy.freeze(), (proxy) => proxy.thaw()],
  ["swallows everything", (proxy) => proxy.blackhole(), (proxy) => proxy.restore()],
  [
    "corrupts bytes",
    (proxy) => proxy.corrupt(1, Math.random),
    (proxy) => proxy.corrupt(undefined, Math.random),
  ],
  ["ends the gateway's half", (proxy) => proxy.halfClose("client"), () => {}],
  ["ends the agent's half", (proxy) => proxy.halfClose("server"), () => {}],
];
describe("an agent on a network", () => {
  let rig: AgentRig;
  let model: ModelRef;
  before(async () => {
    const heartbeat = { heartbeatIntervalMs: 100, heartbeatTimeoutMs: 600 };
    // Lucky dice: many links are lost in a short time here, and it would back off.
    rig = await AgentRig.start({ isProxied: true, ...heartbeat, agent: { random: () => 0.02 } });
    model = await slowModel(rig.gateway, 80);
  });
  after(() => rig.close());

  for (const [name, begin, end] of FAULTS) {
    test(`that ${name}: computes on, notices, reconnects, and delivers`, async () => {
      const { gateway, agent, proxy } = rig;
      const task = fakeTask(model, { input: slowInput });
      gateway.send({ type: "load_model", model, preload: false }, task);
      await gateway.next("accepted", ({ token }) => token === task.token);
      const before = gateway.all("hello").length;
      begin(proxy);
      await until("the agent to notice", () => agent.status().link !== "online");
      end(proxy);
      await until("the next greeting", () => gateway.all("hello").length > before);
      await gateway.result(task.token);
      await until("the delivery to be confirmed", () => agent.status().held === 0);
      await until("the link to be up", () => agent.status().link === "online");
    });
  }
});
