import assert from "node:assert/strict";
import { test } from "node:test";
import { FleetRig } from "../support/fleet-rig.ts";
import { seededRandom } from "../support/seeded-random.ts";

test("of equally fast workers the nearest one has the task", () => {
  const rig = new FleetRig();
  rig.veteran("far", 50, { site: "far", rttMs: 120 });
  const near = rig.veteran("near", 50, { site: "near", rttMs: 4 });
  rig.veteran("middle", 50, { site: "middle", rttMs: 40 });
  assert.equal(rig.holderOf(rig.add()), near);
});

test("the time of a large input on a slow line counts like any other time", () => {
  const rig = new FleetRig();
  const thin = rig.veteran("thin", 50, { rttMs: 4, bytesPerMs: 100 });
  const thick = rig.veteran("thick", 50, { rttMs: 40, bytesPerMs: 100_000 });
  assert.equal(rig.holderOf(rig.add({ inputBytes: 1_000_000 })), thick);
  assert.equal(rig.holderOf(rig.add({ inputBytes: 1000 })), thin);
});

test("of equals each is as likely", () => {
  const rig = new FleetRig({ random: seededRandom(1) });
  const workers = ["a", "b", "c", "d"].map((id) => rig.veteran(id, 50));
  for (let i = 0; i < 400; i += 1) rig.answerTo(rig.add(), { executeMs: 50 });
  for (const worker of workers) assert.ok(rig.sentTo(worker).length > 60, worker.id);
});

test("a far worker with short tasks holds enough of them to be busy all the time, and never more than its credit", () => {
  const rig = new FleetRig();
  const worker = rig.serve("far", () => ({ executeMs: 5 }), { rttMs: 100 });
  rig.teach(worker, 5);
  let most = 0;
  rig.addMany(400);
  while (rig.queue.length > 0) {
    rig.clock.advance(1);
    most = Math.max(most, rig.heldBy(worker));
    assert.ok(rig.heldBy(worker) <= worker.credit);
  }
  // 100 ms of way are 20 tasks of 5 ms.
  assert.ok(most >= 20, `held ${most}`);
  rig.clock.advance(300);
  const lastMs = Math.max(...rig.tasks.map(({ end }) => end?.afterMs as number));
  assert.ok(lastMs < 100 + 400 * 5 + 200, `done after ${lastMs} ms`);
});

test("nothing is sent to a busy worker before about the time at which it can begin", () => {
  const rig = new FleetRig();
  const worker = rig.veteran("only", 1000, { rttMs: 20, slots: 40 }, 200);
  rig.addMany(40);
  assert.equal(rig.heldBy(worker), 40);
  rig.add();
  rig.clock.advance(700);
  assert.equal(rig.heldBy(worker), 40);
  rig.clock.advance(330);
  assert.equal(rig.heldBy(worker), 41);
});

test("a task waits for a fast worker that is soon free, rather than take a slow idle one", () => {
  const rig = new FleetRig();
  const slow = rig.veteran("slow", 1000);
  const fast = rig.veteran("fast", 50);
  const [first, second] = [rig.add(), rig.add()];
  assert.equal(rig.holderOf(first), fast);
  rig.clock.advance(60);
  rig.answerTo(first);
  assert.equal(rig.holderOf(second), fast);
  assert.equal(rig.sentTo(slow).length, 0);
});

test("when many wait behind it, the slow idle one has the task", () => {
  const rig = new FleetRig();
  const slow = rig.veteran("slow", 1000);
  rig.veteran("fast", 50);
  rig.addMany(60);
  assert.equal(rig.sentTo(slow).length, 1);
});

test("a link that is full gets nothing until it has room", () => {
  const rig = new FleetRig();
  const worker = rig.veteran("only", 50);
  rig.setCanSend(worker, false);
  const task = rig.add();
  rig.clock.advance(1000);
  assert.equal(rig.holderOf(task), undefined);
  rig.setCanSend(worker, true);
  rig.round();
  assert.equal(rig.holderOf(task), worker);
});

test("nobody waits for a fast worker whose link is full while a slow one is idle", () => {
  const rig = new FleetRig();
  const slow = rig.veteran("slow", 2000);
  const fast = rig.veteran("fast", 10);
  rig.setCanSend(fast, false);
  assert.equal(rig.holderOf(rig.add()), slow);
});

test("an unavailable worker, and one that is not able, gets nothing", () => {
  const rig = new FleetRig();
  const draining = rig.veteran("draining", 10);
  const able = rig.veteran("able", 500);
  const unable = rig.join("unable");
  rig.unable.add("unable");
  rig.dispatcher.setAvailable(draining, false);
  assert.equal(rig.holderOf(rig.add({ group: "choosy" })), able);
  assert.equal(rig.heldBy(unable), 0);
});

test("only replicas have tasks of a deployed model, and with none of them it waits", () => {
  const rig = new FleetRig();
  rig.veteran("fast", 10);
  const replica = rig.veteran("replica", 500);
  rig.replicas = new Set(["replica"]);
  const task = rig.add();
  assert.equal(rig.holderOf(task), replica);
  rig.replicas = new Set();
  assert.equal(rig.holderOf(rig.add()), undefined);
});

test("who has refused a model gets others, and this one again when the time is over", () => {
  const rig = new FleetRig();
  const worker = rig.veteran("only", 20);
  rig.dispatcher.refusals(worker, new Map([["net", rig.clock.monotonic() + 3000]]));
  const [refused, other] = [rig.add(), rig.add({ model: "other" })];
  assert.equal(rig.holderOf(refused), undefined);
  assert.equal(rig.holderOf(other), worker);
  rig.answerTo(other);
  rig.clock.advance(2900);
  assert.equal(rig.holderOf(refused), undefined);
  rig.clock.advance(400);
  assert.equal(rig.holderOf(refused), worker);
});

test("a worker of whose path nothing is known yet gets tasks", () => {
  const rig = new FleetRig();
  const worker = rig.join("new", { rttMs: undefined });
  assert.equal(rig.holderOf(rig.add()), worker);
});

test("who leaves gives back what it held, and nothing more comes of it", () => {
  const rig = new FleetRig();
  const worker = rig.veteran("a", 50);
  const task = rig.add();
  const [flight] = rig.dispatcher.leave(worker);
  assert.equal(flight?.task, task);
  assert.deepEqual([flight?.isOver, task.flights?.length, rig.heldBy(worker)], [true, 0, 0]);
  rig.dispatcher.answered(flight as never, {
    isOk: true,
    queuedMs: 0,
    executeMs: 1,
    loadMs: 0,
    batchSize: 1,
  });
  rig.dispatcher.changed(worker);
  assert.equal(rig.holderOf(rig.add()), undefined);
});

test("a batch begins with the tasks that join it, so the next one is sent before the first has ended", () => {
  const rig = new FleetRig();
  const alone = rig.veteran("alone", 400);
  const batching = rig.veteran("batching", 400, { maxBatch: () => 4 });
  rig.addMany(8);
  assert.deepEqual([rig.heldBy(alone), rig.heldBy(batching) > 3], [2, true]);
});

test("closing leaves no timer behind", () => {
  const rig = new FleetRig({ strategy: "ADAPTIVE" });
  rig.serve("a", () => undefined);
  rig.addMany(20);
  assert.ok(rig.clock.pendingCount > 0);
  rig.dispatcher.close();
  assert.equal(rig.clock.pendingCount, 0);
});
