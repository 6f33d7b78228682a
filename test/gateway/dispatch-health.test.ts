import assert from "node:assert/strict";
import { test } from "node:test";
import type { FleetWorker } from "../../gateway/dispatch/fleet-worker.ts";
import { FleetRig } from "../support/fleet-rig.ts";

const failing = { isOk: false, executeMs: 1 };

/** A worker that fails everything at once. */
function ejected(rig: FleetRig, id: string): FleetWorker {
  const worker = rig.veteran(id, 5);
  fail(rig, worker, 3);
  return worker;
}

function fail(rig: FleetRig, worker: FleetWorker, times: number): void {
  for (let i = 0; i < times; i += 1) rig.teachFailure(worker);
}

test("three failures in a row have a worker spared, two have not", () => {
  const rig = new FleetRig();
  rig.veteran("other", 500);
  const worker = rig.veteran("fast", 5);
  fail(rig, worker, 2);
  assert.deepEqual(rig.healthChanges, []);
  fail(rig, worker, 1);
  assert.deepEqual(rig.healthChanges, ["fast ejected"]);
  rig.addMany(20);
  assert.equal(rig.sentTo(worker).length, 0);
});

test("never more than half of the fleet is spared", () => {
  const rig = new FleetRig();
  const workers = ["a", "b", "c", "d", "e"].map((id) => rig.veteran(id, 50));
  for (const worker of workers) fail(rig, worker, 3);
  assert.deepEqual(rig.healthChanges, ["a ejected", "b ejected"]);
  rig.add();
  assert.equal(rig.sent.length, 1);
  assert.ok(!["a", "b"].includes(rig.sent[0]?.worker.id ?? ""));
});

test("fast errors attract nobody", () => {
  const rig = new FleetRig();
  const broken = rig.serve("broken", () => failing);
  const well = rig.serve("well", () => ({ executeMs: 50 }));
  rig.stream(100, 60);
  rig.clock.advance(500);
  assert.ok(rig.sentTo(broken).length < 10, `${rig.sentTo(broken).length} tasks`);
  assert.ok(rig.tasks.every(({ end }) => end?.isOk === true));
  assert.ok(rig.sentTo(well).length >= 100);
});

test("a spared worker is probed by copies, one at a time, and starts slowly after three good ones", () => {
  const rig = new FleetRig();
  rig.serve("well", () => ({ executeMs: 10 }));
  rig.stream(30, 30);
  const worker = ejected(rig, "spared");
  rig.serveBy(worker, () => ({ executeMs: 15 }));
  rig.stream(30, 30);
  assert.equal(rig.sentTo(worker).length, 0, "its time is not over");
  rig.clock.advance(2000);
  let most = 0;
  for (let i = 0; i < 40 && !worker.health.isTrusted; i += 1) {
    rig.add();
    most = Math.max(most, rig.heldBy(worker));
    rig.clock.advance(5);
  }
  assert.equal(most, 1);
  assert.deepEqual(
    rig
      .sentTo(worker)
      .slice(0, 3)
      .map(({ purpose }) => purpose),
    ["probe", "probe", "probe"],
  );
  assert.deepEqual(rig.healthChanges, ["spared ejected", "spared trusted"]);
});

test("a newcomer is taken for well: it has its whole credit at once", () => {
  const worker = new FleetRig().join("new", { slots: 16, rttMs: 200 });
  assert.ok(worker.credit >= 16);
});

test("a probe that fails has the worker spared for twice as long, and what it held before does not count twice", () => {
  const rig = new FleetRig({ random: () => 0.5 });
  rig.veteran("well", 10);
  const worker = rig.veteran("spared", 10, { slots: 8 });
  const held = Array.from({ length: 8 }, () => rig.sendTo(worker));
  for (const flight of held) rig.answer(flight, failing);
  assert.deepEqual(rig.healthChanges, ["spared ejected"]);
  const nowMs = rig.clock.monotonic();
  assert.equal(worker.health.isProbeDue(nowMs + 1999), false);
  assert.equal(worker.health.isProbeDue(nowMs + 2000), true);
  rig.clock.advance(2001);
  rig.answer(rig.sendTo(worker), failing);
  assert.equal(worker.health.isProbeDue(rig.clock.monotonic() + 3999), false);
  assert.equal(worker.health.isProbeDue(rig.clock.monotonic() + 4000), true);
});

test("good answers to what a worker had before it was spared do not have it trusted", () => {
  const rig = new FleetRig();
  rig.veteran("well", 10);
  const worker = rig.veteran("spared", 10, { slots: 8 });
  const held = Array.from({ length: 6 }, () => rig.sendTo(worker));
  fail(rig, worker, 3);
  for (const flight of held) rig.answer(flight, { executeMs: 10 });
  assert.equal(worker.health.isTrusted, false);
});

test("after a long good time a worker is spared briefly again", () => {
  const rig = new FleetRig({ random: () => 0.5 });
  rig.veteran("well", 10);
  const worker = rig.veteran("moody", 10);
  for (let i = 0; i < 4; i += 1) {
    fail(rig, worker, 3);
    rig.clock.advance(40_000);
    rig.teach(worker, 10, 4);
  }
  rig.clock.advance(10 * 60_000);
  fail(rig, worker, 3);
  assert.equal(worker.health.isTrusted, false);
  assert.equal(worker.health.isProbeDue(rig.clock.monotonic() + 2000), true);
});

test("a silent worker gets nothing new, and what it holds is copied elsewhere", () => {
  const rig = new FleetRig();
  const silent = rig.veteran("silent", 300);
  const task = rig.add();
  assert.equal(rig.holderOf(task), silent);
  const other = rig.veteran("other", 500);
  rig.dispatcher.pinged(silent);
  rig.clock.advance(2000);
  rig.dispatcher.heard(other);
  assert.deepEqual(
    rig.copies().map(({ purpose, worker }) => [purpose, worker.id]),
    [["rescue", "other"]],
  );
  rig.clock.advance(1000);
  assert.equal(rig.copies().length, 1);
  rig.answer(rig.copies()[0] as never, { executeMs: 500 });
  assert.equal(rig.holderOf(rig.add()), other);
  rig.dispatcher.heard(silent);
  rig.dispatcher.released(task.flights?.[0] ?? (rig.sentTo(silent)[0] as never));
  rig.clock.advance(300);
  assert.equal(rig.holderOf(rig.add()), silent);
});

test("a task that may not be copied is not rescued", () => {
  const rig = new FleetRig();
  const silent = rig.veteran("silent", 300);
  rig.add({ mayBeCopied: false });
  rig.veteran("other", 500);
  rig.dispatcher.pinged(silent);
  rig.clock.advance(5000);
  assert.equal(rig.copies().length, 0);
});

test("after this process has stood still nobody is taken for silent before what has come is read", () => {
  const rig = new FleetRig();
  const worker = rig.veteran("a", 300);
  rig.veteran("b", 500);
  rig.add();
  rig.dispatcher.pinged(worker);
  rig.clock.standStill(5000);
  rig.dispatcher.heard(worker);
  rig.clock.advance(1000);
  assert.equal(rig.copies().length, 0);
  assert.equal(rig.holderOf(rig.add({ model: "other" })) !== undefined, true);
});

test("a failed task goes elsewhere, even if it has to wait there", () => {
  const rig = new FleetRig();
  const fast = rig.veteran("fast", 5);
  const slow = rig.veteran("slow", 300, {}, 100);
  // Nothing presses.
  rig.unable.add("bystander");
  rig.join("bystander", { slots: 64 });
  const task = rig.add();
  assert.equal(rig.holderOf(task), fast);
  const other = rig.sendTo(slow);
  rig.answerTo(task, failing);
  assert.equal(rig.holderOf(task), undefined, "it waits for the slow one");
  rig.clock.advance(310);
  rig.answer(other, { executeMs: 300 });
  assert.equal(rig.holderOf(task), slow);
});

test("when all have failed it, any of them may try again", () => {
  const rig = new FleetRig({ maxAttempts: 9 });
  const only = rig.veteran("only", 50);
  const task = rig.add();
  rig.answerTo(task, failing);
  assert.equal(rig.holderOf(task), only);
});

test("when everybody is spared, one of them gets a task, one at a time", () => {
  const rig = new FleetRig({ maxAttempts: 9 });
  const only = ejected(rig, "only");
  assert.deepEqual(rig.healthChanges, ["only ejected"]);
  rig.addMany(3);
  assert.equal(rig.heldBy(only), 1);
});

test("a last attempt on a worker that has proved nothing since the first failure is made twice", () => {
  const rig = new FleetRig({ maxAttempts: 2 });
  rig.veteran("a", 50);
  rig.veteran("b", 60);
  rig.veteran("c", 70);
  const task = rig.add();
  rig.clock.advance(20);
  rig.answerTo(task, failing);
  assert.deepEqual(
    task.flights?.map(({ purpose, worker }) => [purpose, worker.id]),
    [
      ["retry", "b"],
      ["rescue", "c"],
    ],
  );
});

test("a last attempt goes where things went well since the first one failed, though it is slower", () => {
  const rig = new FleetRig({ maxAttempts: 2 });
  rig.veteran("a", 50);
  rig.veteran("b", 60);
  const proven = rig.veteran("c", 90);
  const task = rig.add();
  const failed = task.flights?.[0];
  const probe = rig.sendTo(proven);
  rig.clock.advance(1);
  rig.dispatcher.answered(failed as never, {
    isOk: false,
    queuedMs: 0,
    executeMs: 1,
    loadMs: 0,
    batchSize: 1,
  });
  rig.clock.advance(100);
  rig.answer(probe, { executeMs: 90 });
  task.failures = 1;
  task.triedWorkerIds = new Set(["a"]);
  rig.queue.unshift(task);
  rig.round();
  assert.equal(rig.holderOf(task), proven);
  assert.equal(rig.copies().length, 0);
});
