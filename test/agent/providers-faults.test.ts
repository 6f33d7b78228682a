/** What a worker does about a GPU without memory left, and about models that crash it. Real runner processes. */

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { Quarantine } from "../../agent/runner/quarantine.ts";
import { buildEndlessLoop } from "../../models/onnx/hostile.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { AgentRig } from "../support/agent-rig.ts";
import { fakeTask, floats } from "../support/fake-gateway.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { DEADLY, HUGE } from "../support/odd-inputs.ts";
import { RunnerRig, type RunnerRigOptions } from "../support/runner-rig.ts";
import { until } from "../support/until.ts";

const rigs: RunnerRig[] = [];
after(() => Promise.all(rigs.map((rig) => rig.close())));

async function rigOf(providers: readonly string[], options: RunnerRigOptions = {}): Promise<RunnerRig> {
  const rig = await RunnerRig.start({ isOdd: true, providers, ...options });
  rigs.push(rig);
  return rig;
}

const INPUT = floats("input", [1, 16], 3);
const vram = (mib: number) => ({ requirements: { min_vram_mb: mib } });

describe("the GPU's memory", () => {
  const MIB = 1024 * 1024;

  test("the model that was idle longest makes room for another", async () => {
    const rig = await rigOf(["webgpu", "cpu"], { gpuBudgetBytes: 1000 * MIB });
    const [a, b, c] = await Promise.all(
      ["a", "b", "c"].map((name) => rig.model(name, buildIdentity(), vram(400))),
    );
    assert.ok(a && b && c);
    for (const model of [a, b, a, c]) assert.equal((await rig.run(model, INPUT)).provider, "webgpu");
    assert.deepEqual(rig.states(b), ["loading", "ready", "unloaded"]);
    assert.deepEqual(rig.states(a), ["loading", "ready"]);
  });

  test("a model that fits on no card of this worker runs on the CPU, or not at all when it may not", async () => {
    const rig = await rigOf(["webgpu", "cpu"], { gpuBudgetBytes: 1000 * MIB });
    const wide = await rig.model("wide", buildIdentity(), vram(2000));
    assert.equal((await rig.run(wide, INPUT)).provider, "cpu");
    assert.deepEqual(rig.ready(wide)?.passedOver, [
      "webgpu: It needs 2000 MiB of GPU memory and 1000 MiB are left.",
    ]);
    const strict = await rig.model("strict", buildIdentity(), {
      requirements: { providers: ["webgpu"], min_vram_mb: 2000 },
    });
    await assert.rejects(rig.run(strict, INPUT), { code: "out_of_memory", message: /2000 MiB/ });
  });

  test("a load that finds no memory is tried again once the idle models are gone", async () => {
    const rig = await rigOf(["coreml"]);
    const [a, b] = await Promise.all(["a", "b"].map((name) => rig.model(name, buildIdentity())));
    assert.ok(a && b);
    await rig.run(a, INPUT);
    assert.equal((await rig.run(b, INPUT)).provider, "coreml");
    assert.equal((await rig.run(b, INPUT)).provider, "coreml");
  });

  test("a run that finds no memory is tried once more, and then says so", async () => {
    const rig = await rigOf(["coreml"]);
    const model = await rig.model("a", buildIdentity());
    await assert.rejects(rig.run(model, floats("input", [1, 16], HUGE)), { code: "out_of_memory" });
    assert.deepEqual(rig.states(model), ["loading", "ready", "loading", "ready"]);
    assert.equal((await rig.run(model, INPUT)).provider, "coreml");
  });

  test("a model is unloaded when no task has needed it for as long as its manifest says", async () => {
    const clock = new ManualClock();
    const rig = await rigOf(["webgpu"], { clock });
    const [brief, lasting] = [
      await rig.model("brief", buildIdentity(), { idle_seconds: 60 }),
      await rig.model("lasting", buildIdentity()),
    ];
    await rig.run(brief, INPUT);
    await rig.run(lasting, INPUT);
    clock.advance(40_000);
    await rig.run(brief, INPUT);
    clock.advance(40_000);
    assert.deepEqual(rig.states(brief), ["loading", "ready"]);
    clock.advance(20_000);
    assert.deepEqual(rig.states(brief), ["loading", "ready", "unloaded"]);
    assert.deepEqual(rig.states(lasting), ["loading", "ready"]);
    await rig.run(brief, INPUT);
  });
});

describe("a model that crashes its runner", () => {
  const deadly = floats("input", [1, 16], DEADLY);

  test("is out for ten minutes after the second time, then for twice as long, a day at most", () => {
    const clock = new ManualClock();
    const quarantine = new Quarantine(clock);
    const outMinutes: number[] = [];
    for (let round = 0; round < 9; round += 1) {
      assert.equal(quarantine.crashed("bad"), undefined);
      clock.advance(599_000);
      assert.equal(quarantine.crashed("good"), undefined, "each model has a count of its own");
      quarantine.forget("good");
      const outMs = quarantine.crashed("bad") ?? 0;
      outMinutes.push(outMs / 60_000);
      clock.advance(outMs);
    }
    assert.deepEqual(outMinutes, [10, 20, 40, 80, 160, 320, 640, 1280, 1440]);
  });

  test("now and then is not kept out, and what was long ago is forgotten", () => {
    const clock = new ManualClock();
    const quarantine = new Quarantine(clock);
    for (let round = 0; round < 5; round += 1) {
      assert.equal(quarantine.crashed("bad"), undefined);
      clock.advance(600_000);
    }
    quarantine.crashed("bad");
    assert.equal(quarantine.crashed("bad"), 600_000);
    clock.advance(3 * 24 * 3_600_000);
    quarantine.crashed("bad");
    assert.equal(quarantine.crashed("bad"), 600_000);
  });

  test("takes the tasks that wait for it along, when they would crash it next", async () => {
    const rig = await rigOf(["cpu"]);
    const bad = await rig.model("bad", buildIdentity());
    const outcomes = await Promise.allSettled(Array.from({ length: 6 }, () => rig.run(bad, deadly)));
    const codes = outcomes.map((each) => (each.status === "rejected" ? each.reason.code : "done"));
    assert.deepEqual(codes, ["runner_crashed", "runner_crashed", ...new Array(4).fill("model_load_failed")]);
    await until("the next runner", () => rig.supervisor.status().runners[0]?.state === "up");
  });

  test("is refused by its worker with the reason, until it is pushed anew; other models are served", async () => {
    const rig = await AgentRig.startReady();
    try {
      const { gateway, agent } = rig;
      const bad = gateway.addModel("bad", buildEndlessLoop());
      const good = gateway.addModel("good", buildIdentity());
      for (const model of [bad, good]) gateway.send({ type: "load_model", model, preload: false });
      const input = { kind: "tensors" as const, tensors: [floats("input", [1], 1)] };
      for (let round = 0; round < 2; round += 1) {
        const task = fakeTask(bad, { input });
        gateway.send(task);
        await gateway.next("accepted", ({ token }) => token === task.token);
        process.kill(agent.status().runner.runners[0]?.pid ?? 0, "SIGSEGV");
        assert.equal((await gateway.failure(task.token)).error.code, "runner_crashed");
      }
      const told = await gateway.next(
        "model_state",
        ({ name, state }) => name === "bad" && state === "failed",
      );
      assert.match(
        told.reason ?? "",
        /again and again \(last by SIGSEGV\) and is not run here for 10 minutes/,
      );
      assert.ok((told.retryAfterMs ?? 0) > 500_000);
      const [refused, served] = [fakeTask(bad, { input }), fakeTask(good)];
      gateway.send(refused);
      gateway.send(served);
      assert.equal((await gateway.failure(refused.token)).error.code, "model_load_failed");
      await gateway.result(served.token);

      gateway.send({ type: "unload_model", name: bad.name, version: bad.version });
      gateway.send({ type: "load_model", model: bad, preload: false });
      const again = fakeTask(bad, { input, executionLimitMs: 200 });
      gateway.send(again);
      assert.equal((await gateway.failure(again.token)).error.code, "execution_timeout");
    } finally {
      await rig.close();
    }
  });
});
