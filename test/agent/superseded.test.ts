/** Attempts whose task was answered elsewhere, at a real agent with its real runner process. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { AgentMessage, ModelRef } from "@legacygpu/shared/protocol/messages";
import type { Task } from "../../agent/tasks/task-flow.ts";
import { buildEndlessLoop, buildSlow } from "../../models/onnx/hostile.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { AgentRig } from "../support/agent-rig.ts";
import { fakeTask, floats } from "../support/fake-gateway.ts";
import { until } from "../support/until.ts";

const SIZE = 256;

describe("an agent whose attempt was superseded", () => {
  let rig: AgentRig;
  const models = {} as Record<"identity" | "slow" | "slower" | "endless", ModelRef>;

  before(async () => {
    rig = await AgentRig.startReady({ agent: { slots: 2 } });
    const { gateway } = rig;
    models.identity = gateway.addModel("identity", buildIdentity());
    models.slow = gateway.addModel("slow", buildSlow({ rounds: 400, size: SIZE }));
    models.slower = gateway.addModel("slower", buildSlow({ rounds: 4000, size: SIZE }));
    models.endless = gateway.addModel("endless", buildEndlessLoop());
    await until("both runners to be up", () =>
      rig.agent.status().runner.runners.every(({ state }) => state === "up"),
    );
    announce(true);
    await until("the models to be loaded", () => {
      const ready = gateway.all("model_state").filter(({ state }) => state === "ready");
      return new Set(ready.map(({ name }) => name)).size === 4;
    });
  });
  after(() => rig.close());

  const announce = (preload: boolean): void => {
    for (const model of Object.values(models)) rig.gateway.send({ type: "load_model", model, preload });
  };
  const slow = (model = models.slow): Task =>
    fakeTask(model, { input: { kind: "tensors", tensors: [floats("input", [1, SIZE], 1)] } });
  const endless = (more: Partial<Task> = {}): Task =>
    fakeTask(models.endless, { ...more, input: { kind: "tensors", tensors: [floats("input", [1], 1)] } });
  const begun = ({ token }: Task) => rig.gateway.next("accepted", (message) => message.token === token);
  const released = ({ token }: Task) => rig.gateway.next("released", (message) => message.token === token);
  const supersede = (...tasks: Task[]): void =>
    rig.gateway.send(
      ...tasks.map(({ taskId, token }) => ({
        type: "cancel" as const,
        taskId,
        token,
        reason: "test",
        isSuperseded: true,
      })),
    );
  const heardOf = ({ token }: Task): AgentMessage["type"][] =>
    rig.gateway.received
      .filter((message) => "token" in message && message.token === token)
      .map(({ type }) => type);
  const pids = () => rig.agent.status().runner.runners.map(({ pid }) => pid);

  test("says in its greeting that it tells when it is done", async () => {
    assert.equal((await rig.gateway.next("hello")).releases, true);
  });

  test("lets what runs go on to its end, says how long that took, and keeps its runner", async () => {
    const before = pids();
    const task = slow(models.slower);
    rig.gateway.send(task);
    await begun(task);
    supersede(task);
    const { taskId, timings } = await released(task);
    assert.equal(taskId, task.taskId);
    assert.ok((timings?.executeMs ?? 0) > 0);
    assert.equal(timings?.concurrency, 1);
    const next = fakeTask(models.identity);
    rig.gateway.send(next);
    assert.equal((await rig.gateway.result(next.token)).timings.concurrency, 1);
    assert.deepEqual(heardOf(task), ["accepted", "released"]);
    assert.deepEqual(pids(), before);
    await until("the other's result is confirmed", () => rig.agent.status().held === 0);
  });

  test("drops at once what waits behind others, and what waits for its input", async () => {
    const before = pids();
    const running = [slow(), slow()];
    const behind = Array.from({ length: 6 }, () => slow());
    const fetching = { ...fakeTask(models.identity), input: { kind: "beside" as const, sizeBytes: 10 } };
    rig.gateway.failNext = { status: 503, count: 100 };
    rig.gateway.send(...running, ...behind, fetching);
    for (const task of running) await begun(task);
    supersede(...behind, fetching);
    for (const task of [...behind, fetching]) {
      assert.equal((await released(task)).timings, undefined);
      assert.deepEqual(heardOf(task), ["released"]);
    }
    rig.gateway.failNext = undefined;
    const results = running.map(({ token }) => rig.gateway.result(token));
    const concurrencies = (await Promise.all(results)).map(({ timings }) => timings.concurrency);
    assert.deepEqual(concurrencies.toSorted(), [1, 2]);
    assert.deepEqual(pids(), before, "no runner was killed for them");
    for (const task of behind) assert.deepEqual(heardOf(task), ["released"]);
  });

  test("answers also for an attempt that it does not have", async () => {
    const task = fakeTask(models.identity);
    supersede(task);
    assert.equal((await released(task)).timings, undefined);
  });

  test("after a reconnection neither names nor releases what was superseded before", async () => {
    const task = slow(models.slower);
    const unknown = fakeTask(models.identity);
    rig.gateway.send(task);
    await begun(task);
    const before = pids();
    supersede(task, unknown);
    // They arrive in this order.
    await released(unknown);
    const connections = rig.gateway.all("hello").length;
    rig.gateway.cut();
    await until("the agent to be back", () => rig.gateway.all("hello").length > connections);
    assert.equal(rig.agent.status().held, 1, "it still runs");
    assert.deepEqual(rig.gateway.all("hello").at(-1)?.held, []);
    await until("it to be over", () => rig.agent.status().held === 0);
    announce(false);
    const next = fakeTask(models.identity);
    rig.gateway.send(next);
    await rig.gateway.result(next.token);
    assert.deepEqual(heardOf(task), ["accepted"]);
    assert.deepEqual(pids(), before);
  });

  test("holds it to its own limit on computing, and to its deadline", async () => {
    const tasks = [endless({ executionLimitMs: 200 }), endless({ budgetMs: 400 })];
    rig.gateway.send(...tasks);
    for (const task of tasks) await begun(task);
    supersede(...tasks);
    for (const task of tasks) {
      assert.equal((await released(task)).timings, undefined);
      assert.deepEqual(heardOf(task), ["accepted", "released"]);
    }
  });

  test("releases once what is superseded twice, and then cancelled", async () => {
    const task = endless();
    rig.gateway.send(task);
    await begun(task);
    supersede(task, task);
    rig.gateway.send({ type: "cancel", taskId: task.taskId, token: task.token, reason: "after all" });
    assert.equal((await released(task)).timings, undefined);
    const next = slow();
    rig.gateway.send(next);
    await rig.gateway.result(next.token);
    assert.deepEqual(heardOf(task), ["accepted", "released"]);
  });
});
