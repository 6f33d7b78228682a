import assert from "node:assert/strict";
import { test } from "node:test";
import { FleetRig } from "../support/fleet-rig.ts";

test("ROUND_ROBIN gives tasks in proportion to the slots", () => {
  const rig = new FleetRig({ strategy: "ROUND_ROBIN" });
  const large = rig.serve("large", () => ({ executeMs: 10 }), { slots: 4 });
  const small = rig.serve("small", () => ({ executeMs: 10 }));
  rig.stream(20, 40);
  const [before, beforeSmall] = [rig.sentTo(large).length, rig.sentTo(small).length];
  rig.stream(100, 40);
  assert.equal(rig.sentTo(large).length - before, 80);
  assert.equal(rig.sentTo(small).length - beforeSmall, 20);
});

test("LEAST_LOADED spreads tasks that come together", () => {
  const rig = new FleetRig({ strategy: "LEAST_LOADED" });
  const workers = ["a", "b", "c"].map((id) => rig.veteran(id, 500, { slots: 4 }));
  rig.addMany(6);
  assert.deepEqual(
    workers.map((worker) => rig.heldBy(worker)),
    [2, 2, 2],
  );
});

test("GPU_MATCH keeps the large card free as long as a small one can begin", () => {
  const rig = new FleetRig({ strategy: "GPU_MATCH" });
  rig.veteran("cpu", 10, { memoryBytes: 2 ** 30 });
  rig.veteran("large", 10, { hasCard: true, memoryBytes: 24 * 2 ** 30 });
  rig.veteran("small", 500, { hasCard: true, memoryBytes: 4 * 2 ** 30, slots: 2 });
  const order = Array.from({ length: 4 }, () => rig.holderOf(rig.add())?.id);
  assert.deepEqual(order.slice(0, 2), ["small", "small"]);
  assert.ok(order.indexOf("large") < order.indexOf("cpu") || !order.includes("cpu"), order.join());
});

test("only ADAPTIVE makes copies of tasks on workers that are well", () => {
  for (const strategy of ["ROUND_ROBIN", "LEAST_LOADED", "GPU_MATCH", "LATENCY"] as const) {
    const rig = new FleetRig({ strategy });
    let run = 0;
    for (const id of ["a", "b", "c"])
      rig.serve(id, () => {
        run += 1;
        return { executeMs: run % 20 === 0 ? 2000 : 20 };
      });
    rig.stream(100, 30);
    rig.clock.advance(6000);
    rig.stream(50, 30);
    assert.equal(rig.copies().length, 0, strategy);
  }
});

test("a strategy can be switched with tasks under way", () => {
  const rig = new FleetRig({ strategy: "LEAST_LOADED" });
  for (const id of ["a", "b"]) rig.serve(id, () => ({ executeMs: 30 }));
  for (const strategy of ["ADAPTIVE", "ROUND_ROBIN", "GPU_MATCH", "LATENCY"] as const) {
    rig.addMany(20);
    rig.strategy = strategy;
  }
  rig.clock.advance(5000);
  assert.equal(rig.tasks.filter(({ end }) => end?.isOk === true).length, 80);
});

test("an explanation says of each worker why it has the task or not, and its parts add up", () => {
  const rig = new FleetRig();
  const near = rig.veteran("near", 40, { site: "lab" });
  rig.veteran("far", 50, { site: "office", rttMs: 200 });
  const busy = rig.veteran("busy", 50);
  for (let i = 0; i < 20; i += 1) rig.sendTo(busy);
  const draining = rig.veteran("draining", 50);
  rig.dispatcher.setAvailable(draining, false);
  const full = rig.veteran("full", 50);
  rig.setCanSend(full, false);
  rig.join("unable");
  rig.unable.add("unable");
  const refusing = rig.veteran("refusing", 50);
  rig.dispatcher.refusals(refusing, new Map([["net", rig.clock.monotonic() + 60_000]]));
  const spared = rig.veteran("spared", 50);
  for (let i = 0; i < 3; i += 1) rig.teachFailure(spared);
  const tried = rig.veteran("tried", 50);

  const task = rig.add();
  assert.equal(rig.holderOf(task), near);
  task.triedWorkerIds = new Set([tried.id]);
  const { strategy, chosenWorkerId, candidates } = rig.explain(task, near);
  assert.deepEqual([strategy, chosenWorkerId, candidates[0]?.workerId], ["LATENCY", "near", "near"]);
  const verdicts = new Map(candidates.map(({ workerId, verdict }) => [workerId, verdict]));
  assert.equal(verdicts.get("near"), "chosen");
  assert.match(verdicts.get("far") ?? "", /another one is better/);
  assert.match(verdicts.get("busy") ?? "", /busy|holds as many/);
  assert.match(verdicts.get("draining") ?? "", /draining/);
  assert.match(verdicts.get("full") ?? "", /link is full/);
  assert.match(verdicts.get("unable") ?? "", /requires/);
  assert.match(verdicts.get("refusing") ?? "", /could not load/);
  assert.match(verdicts.get("spared") ?? "", /spared/);
  assert.match(verdicts.get("tried") ?? "", /failed there/);
  for (const { predictedMs, parts } of candidates) {
    assert.equal(predictedMs === undefined, parts === undefined);
    if (parts === undefined || predictedMs === undefined) continue;
    const sum = parts.rttMs + parts.waitMs + parts.serviceMs + parts.loadMs + parts.transferMs;
    assert.ok(Math.abs(sum - predictedMs) < 1e-6);
  }
});

test("of a task that waits the explanation says for whom", () => {
  const rig = new FleetRig();
  rig.veteran("slow", 2000);
  const fast = rig.veteran("fast", 100, {}, 60);
  rig.add();
  const waiting = rig.add();
  assert.equal(rig.holderOf(waiting), fast, "its credit has room");
  const { chosenWorkerId, candidates } = rig.explain(rig.add());
  assert.equal(chosenWorkerId, undefined);
  assert.ok(candidates.some(({ verdict }) => /busy for \d+ ms more|holds as many/.test(verdict)));
});
