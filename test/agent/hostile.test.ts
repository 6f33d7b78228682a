/** Models that would take a machine down, on a real agent that goes on serving others. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { ModelRef } from "@legacygpu/shared/protocol/messages";
import { buildEndlessLoop, buildStaticMemoryBomb } from "../../models/onnx/hostile.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { AgentRig } from "../support/agent-rig.ts";
import { fakeTask, floats } from "../support/fake-gateway.ts";
import { until } from "../support/until.ts";

const MEMORY_LIMIT_BYTES = 600 * 1024 ** 2;

describe("an agent with a hostile model", () => {
  let rig: AgentRig;
  const models = {} as Record<"identity" | "endless" | "bomb", ModelRef>;

  before(async () => {
    rig = await AgentRig.startReady({
      agent: { slots: 2, maxRunnerMemoryBytes: MEMORY_LIMIT_BYTES },
    });
    models.identity = rig.gateway.addModel("identity", buildIdentity());
    models.endless = rig.gateway.addModel("endless", buildEndlessLoop());
    models.bomb = rig.gateway.addModel("bomb", buildStaticMemoryBomb());
    for (const model of Object.values(models))
      rig.gateway.send({ type: "load_model", model, preload: false });
    await serve();
  });
  after(() => rig.close());

  async function serve(): Promise<void> {
    const task = fakeTask(models.identity);
    rig.gateway.send(task);
    await rig.gateway.result(task.token);
  }

  /** Serves others until the attempt has an end, and afterwards. */
  async function outlive(task: ReturnType<typeof fakeTask>) {
    rig.gateway.send(task);
    await rig.gateway.next("accepted", ({ token }) => token === task.token);
    const failed = () => rig.gateway.all("failed").find(({ token }) => token === task.token);
    let servedMeanwhile = 0;
    while (failed() === undefined) {
      await serve();
      if (failed() === undefined) servedMeanwhile += 1;
    }
    const { error } = await rig.gateway.failure(task.token);
    await serve();
    const { link, runner } = rig.agent.status();
    assert.equal(link, "online");
    assert.equal(rig.gateway.all("hello").length, 1);
    assert.equal(runner.runners.length, 2);
    await until("both runners", () => rig.agent.status().runner.runners.every(({ state }) => state === "up"));
    return { error, servedMeanwhile };
  }

  test("a loop without end is stopped at the limit; others are served meanwhile and afterwards", async () => {
    assert.ok(models.endless.fileBytes < 500);
    const input = { kind: "tensors" as const, tensors: [floats("input", [1], 1)] };
    const { error, servedMeanwhile } = await outlive(
      fakeTask(models.endless, { input, executionLimitMs: 1500 }),
    );
    assert.equal(error.code, "execution_timeout");
    assert.ok(servedMeanwhile > 0);
  });

  test("a model that wants 6.4 GB is stopped at its share; others are served afterwards", {
    skip: process.platform !== "linux" && "nobody watches memory here",
  }, async () => {
    assert.ok(models.bomb.fileBytes < 300);
    const input = { kind: "tensors" as const, tensors: [] };
    const { error } = await outlive(fakeTask(models.bomb, { input }));
    assert.equal(error.code, "out_of_memory");
    assert.match(error.message, /over its limit of 600 MiB/);
  });

  test("what the runners are kept from is told", () => {
    const { jail } = rig.agent.status();
    assert.ok(jail.includes("cwd"));
    assert.equal(jail.includes("memory"), process.platform === "linux");
  });
});
