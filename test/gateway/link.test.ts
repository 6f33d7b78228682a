import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { decodeValue, encodeValue } from "@legacygpu/shared/protocol/codec";
import type { AgentMessage, TaskOutput } from "@legacygpu/shared/protocol/messages";
import { attemptInputPath, attemptOutputPath, CLOSE } from "@legacygpu/shared/protocol/version";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { FakeAgent } from "../support/fake-agent.ts";
import { GatewayRig } from "../support/gateway-rig.ts";
import { hello, timings } from "../support/scheduler-rig.ts";
import { until } from "../support/until.ts";

let rig: GatewayRig;
let agents: FakeAgent[];

beforeEach(async () => {
  rig = await GatewayRig.start();
  agents = [];
  await rig.push("identity", buildIdentity());
  await rig.push("wide", buildIdentity({ size: 20_000 }));
});
afterEach(async () => {
  await Promise.all(agents.map((agent) => (agent.closed === undefined ? agent.close() : agent.cut())));
  await rig.close();
});

async function connect(
  ...args: Parameters<typeof FakeAgent.connect> extends [unknown, ...infer Rest] ? Rest : never
): Promise<FakeAgent> {
  const agent = await FakeAgent.connect(rig, ...args);
  agents.push(agent);
  return agent;
}

const submit = async (size = 16, model = "identity"): Promise<string> => {
  const tensor = { name: "input", datatype: "FP32", shape: [1, size], data: new Array(size).fill(1) };
  const answer = await rig.call("POST", "/tasks", { json: { model, input: { inputs: [tensor] } } });
  assert.equal(answer.status, 202, JSON.stringify(answer.body));
  return answer.body.id as string;
};

const outputOf = (size: number): TaskOutput => ({
  kind: "output",
  tensors: [{ name: "output", datatype: "FP32", shape: [1, size], data: new Uint8Array(size * 4) }],
});
const result = (taskId: string, token: number, size = 16): AgentMessage => ({
  type: "result",
  taskId,
  token,
  output: outputOf(size),
  timings: timings(1),
  provider: "cpu",
});
const finished = (id: string): Promise<{ status: string; attempts: unknown[] }> =>
  rig.call("GET", `/tasks/${id}?wait=10`).then(({ body }) => body);

describe("work", () => {
  test("a task is announced, sent, accepted, answered and recorded", async () => {
    const agent = await connect("a");
    const id = await submit();
    const task = await agent.next("task");
    const types = agent.received
      .map(({ type }) => type)
      .filter((type) => type !== "heartbeat" && type !== "ack");
    assert.deepEqual(types, ["welcome", "load_model", "task"]);
    assert.equal(task.taskId, id);
    agent.send({ type: "accepted", taskId: id, token: task.token });
    await until("RUNNING", async () => (await rig.call("GET", `/tasks/${id}`)).body.status === "RUNNING");
    agent.send(result(id, task.token));
    const seen = await finished(id);
    assert.equal(seen.status, "COMPLETED");
  });

  test("a large input and a large output travel beside the link, for this attempt and this key only", async () => {
    const agent = await connect("a");
    const id = await submit(20_000, "wide");
    const task = await agent.next("task");
    assert.equal(task.input.kind, "beside");
    const input = await agent.fetch(attemptInputPath(id, task.token));
    assert.equal(input.status, 200);
    const payload = decodeValue(input.bytes) as { tensors: { data: Uint8Array }[] };
    assert.equal(payload.tensors[0]?.data.length, 80_000);
    const stranger = await connect("b");
    assert.equal((await stranger.fetch(attemptInputPath(id, task.token))).status, 404);
    assert.equal((await agent.fetch(attemptInputPath(id, task.token + 1))).status, 404);
    assert.equal((await agent.fetch(attemptOutputPath(id, task.token), outputOf(20_000))).status, 200);
    agent.send({
      type: "result",
      taskId: id,
      token: task.token,
      output: { kind: "beside", sizeBytes: 80_000 },
      timings: timings(1),
      provider: "cpu",
    });
    assert.equal((await finished(id)).status, "COMPLETED");
  });

  test("an agent that is killed loses nothing: its tasks run elsewhere", async () => {
    const first = await connect("a");
    const id = await submit();
    const old = await first.next("task");
    await first.cut();
    const second = await connect("b");
    const again = await second.next("task");
    assert.ok(again.token > old.token);
    second.send(result(id, again.token));
    assert.deepEqual(
      (await finished(id)).attempts.map((attempt) => (attempt as { outcome: string }).outcome),
      ["worker_lost", "completed"],
    );
  });

  test("an agent that is back at once keeps its attempts and delivers them", async () => {
    const key = await rig.key("worker");
    const agent = await connect("a", {}, key);
    const id = await submit();
    const { token } = await agent.next("task");
    await agent.cut();
    const back = await connect(
      "a",
      {
        held: [
          { taskId: id, token },
          { taskId: "task_old", token: 5 },
        ],
      },
      key,
    );
    assert.deepEqual((await back.next("welcome")).keep, [token]);
    back.send(result(id, token));
    const seen = await finished(id);
    assert.deepEqual([seen.status, seen.attempts.length], ["COMPLETED", 1]);
  });

  test("what a returning agent does not hold is sent again", async () => {
    const key = await rig.key("worker");
    const agent = await connect("a", {}, key);
    const id = await submit();
    const { token } = await agent.next("task");
    await agent.cut();
    const back = await connect("a", { held: [] }, key);
    const again = await back.next("task");
    assert.equal(again.taskId, id);
    assert.ok(again.token > token);
  });

  test("a cancelled task is taken back from the worker", async () => {
    const agent = await connect("a");
    const id = await submit();
    const { token } = await agent.next("task");
    await rig.call("POST", `/tasks/${id}/cancel`);
    assert.equal((await agent.next("cancel")).token, token);
    agent.send(result(id, token));
    await until(
      "the late answer to be counted",
      async () => (await rig.call("GET", "/cluster/metrics")).body.stale_messages === 1,
    );
    assert.equal((await finished(id)).status, "CANCELLED");
  });

  test("a synchronous request whose client hangs up is cancelled", async () => {
    const agent = await connect("a");
    const abort = new AbortController();
    const tensor = { name: "input", datatype: "FP32", shape: [1, 16], data: new Array(16).fill(1) };
    const call = rig.call("POST", "/v2/models/identity/infer", {
      json: { inputs: [tensor] },
      signal: abort.signal,
    });
    const { token } = await agent.next("task");
    abort.abort();
    await assert.rejects(call);
    assert.equal((await agent.next("cancel")).token, token);
  });

  test("an agent that drains gets nothing new", async () => {
    const agent = await connect("a");
    agent.send({ type: "goodbye", reason: "maintenance" });
    await until(
      "the worker to be gone",
      async () => (await rig.call("GET", "/cluster/health")).body.total_workers === 0,
    );
  });
});

describe("the link", () => {
  test("results are acknowledged at once, not with some later message: a draining agent waits for it", async () => {
    const slow = await GatewayRig.start({ heartbeatIntervalMs: 60_000, heartbeatTimeoutMs: 180_000 });
    try {
      await slow.push("identity", buildIdentity());
      const agent = await FakeAgent.connect(slow, "a");
      const tensor = { name: "input", datatype: "FP32", shape: [1, 16], data: new Array(16).fill(1) };
      await slow.call("POST", "/tasks", { json: { model: "identity", input: { inputs: [tensor] } } });
      const { taskId, token } = await agent.next("task");
      agent.send(result(taskId, token));
      await agent.next("ack", ({ receivedBytes }) => receivedBytes > 300);
      await agent.close();
    } finally {
      await slow.close();
    }
  });

  test("round-trip times are measured from the first moment", async () => {
    await connect("a");
    const worker = await until("a round-trip time", async () => {
      const [first] = (await rig.call("GET", "/cluster/workers")).body.workers;
      return first?.rtt_ms === null ? undefined : first;
    });
    assert.ok(worker.rtt_ms > 0);
  });

  test("a frame that cannot be read closes the link, with the reason", async () => {
    const agent = await connect("a");
    agent.sendBytes(encodeValue([{ type: "accepted", taskId: "t" }]));
    await until("the link to close", () => agent.closed);
    assert.equal(agent.closed?.code, CLOSE.malformed);
    assert.match(agent.closed?.reason ?? "", /accepted/);
  });

  test("a first message that is no greeting closes the link", async () => {
    const agent = await FakeAgent.dial(rig);
    agents.push(agent);
    agent.send({ type: "ack", receivedBytes: 0 });
    await until("the link to close", () => agent.closed);
    assert.equal(agent.closed?.code, CLOSE.malformed);
  });

  test("an agent of another protocol version is told which one is spoken", async () => {
    const agent = await FakeAgent.dial(rig);
    agents.push(agent);
    agent.send(hello("a", { protocol: [99] }));
    await until("the link to close", () => agent.closed);
    assert.deepEqual(agent.closed, {
      code: CLOSE.protocolUnsupported,
      reason: "this gateway speaks protocol 1, the agent 99",
    });
  });

  test("a second machine with the same worker id is refused, the first stays", async () => {
    const first = await connect("a");
    const second = await FakeAgent.dial(rig);
    agents.push(second);
    second.send(hello("a", { instanceId: "another machine" }));
    await until("the link to close", () => second.closed);
    assert.equal(second.closed?.code, CLOSE.workerIdInUse);
    assert.equal(first.closed, undefined);
  });

  test("a revoked worker key closes the link at once", async () => {
    const created = await rig.call("POST", "/keys", { json: { name: "box", scopes: ["worker"] } });
    const agent = await connect("a", {}, created.body.key);
    await rig.call("DELETE", `/keys/${created.body.id}`);
    await until("the link to close", () => agent.closed);
    assert.equal(agent.closed?.code, CLOSE.unauthorized);
  });

  test("a wrong key, a person's key and a browser are refused at the handshake", async () => {
    for (const refused of [
      await FakeAgent.dial(rig, "lgw_nonsense"),
      await FakeAgent.dial(rig, rig.adminKey),
      await FakeAgent.dial(rig, undefined, "https://evil.example"),
    ]) {
      agents.push(refused);
      await until("the refusal", () => refused.closed);
      assert.equal(refused.closed?.code, 1006);
    }
  });
});
