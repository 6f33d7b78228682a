/** Batches through a real agent with its real runner process. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { ModelRef } from "@legacygpu/shared/protocol/messages";
import { buildFailsOnSomeInputs, buildSlow } from "../../models/onnx/hostile.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { AgentRig } from "../support/agent-rig.ts";
import { fakeTask, floats } from "../support/fake-gateway.ts";

const BATCHING = { batching: { max_size: 16, max_delay_ms: 0 } };

const index = (value: number) => ({
  name: "input",
  datatype: "INT64" as const,
  shape: [1],
  data: new Uint8Array(BigInt64Array.of(BigInt(value)).buffer),
});

describe("an agent that batches", () => {
  let rig: AgentRig;
  const models = {} as Record<"identity" | "table" | "slow", ModelRef>;

  before(async () => {
    rig = await AgentRig.startReady();
    const { gateway } = rig;
    models.identity = gateway.addModel("identity", buildIdentity(), BATCHING);
    models.table = gateway.addModel("table", buildFailsOnSomeInputs(), BATCHING);
    models.slow = gateway.addModel("slow", buildSlow(), BATCHING);
    for (const model of Object.values(models)) gateway.send({ type: "load_model", model, preload: false });
  });
  after(() => rig.close());

  test("runs the tasks that came while it was busy as one, and tells how many they were", async () => {
    const { gateway } = rig;
    // They wait for the model to be loaded.
    const tasks = Array.from({ length: 12 }, (_, value) =>
      fakeTask(models.identity, { input: { kind: "tensors", tensors: [floats("input", [1, 16], value)] } }),
    );
    gateway.send(...tasks);
    const results = await Promise.all(tasks.map(({ token }) => gateway.result(token)));
    for (const [value, { output, timings }] of results.entries()) {
      assert.deepEqual(output.kind === "output" && output.tensors, [floats("output", [1, 16], value)]);
      assert.equal(timings.batchSize, 12);
    }
  });

  test("a lone task is no batch", async () => {
    const { gateway } = rig;
    const task = fakeTask(models.identity);
    gateway.send(task);
    const { timings } = await gateway.result(task.token);
    assert.equal(timings.batchSize, undefined);
  });

  test("a bad task fails, and its neighbours get what they asked for", async () => {
    const { gateway } = rig;
    const tasks = [1, 99, 2].map((value) =>
      fakeTask(models.table, { input: { kind: "tensors", tensors: [index(value)] } }),
    );
    gateway.send(...tasks);
    const [first, bad, last] = tasks.map(({ token }) => token) as [number, number, number];
    assert.equal((await gateway.failure(bad)).error.code, "model_run_failed");
    for (const [token, value] of [
      [first, 20],
      [last, 30],
    ] as const) {
      const { output, timings } = await gateway.result(token);
      assert.deepEqual(output.kind === "output" && output.tensors, [floats("output", [1], value)]);
      assert.equal(timings.batchSize, undefined, "it ran alone in the end");
    }
  });

  test("a deadline that passes inside a batch ends that task, and the others go on in the same process", async () => {
    const { gateway, agent } = rig;
    const input = { kind: "tensors" as const, tensors: [floats("input", [1, 512], 1)] };
    const warm = fakeTask(models.slow, { input });
    gateway.send(warm);
    await gateway.result(warm.token);
    const [{ pid } = { pid: undefined }] = agent.status().runner.runners;
    const hasty = fakeTask(models.slow, { input, budgetMs: 150 });
    const patient = [1, 2].map(() => fakeTask(models.slow, { input }));
    gateway.send(hasty, ...patient);
    assert.equal((await gateway.failure(hasty.token)).error.code, "deadline_exceeded");
    for (const { token } of patient) assert.ok(((await gateway.result(token)).timings.batchSize ?? 1) > 1);
    assert.equal(agent.status().runner.runners[0]?.pid, pid);
  });
});
