/** What the answers to tasks tell of a worker's speed and of the path to it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { AttemptTimings } from "@legacygpu/shared/protocol/messages";
import { ServiceTimes } from "../../gateway/registry/service-times.ts";
import { RecordingLink, SchedulerRig, timings } from "../support/scheduler-rig.ts";

const MODEL = { name: "m", version: "1" };

function rig(link = new RecordingLink()) {
  const scheduler = new SchedulerRig();
  const { registry, clock } = scheduler;
  const { worker } = scheduler.greet("a", { site: "home" }, link);
  clock.advance(1000);
  const answer = (
    totalMs: number,
    of: Partial<AttemptTimings> = {},
    { inputBytes = 100, outputBytes = 100 } = {},
  ): void => {
    const sentAtMs = clock.monotonic();
    clock.advance(totalMs);
    const all = { ...timings(10), ...of };
    registry.noteAnswer(worker, { model: MODEL, timings: all, sentAtMs, inputBytes, outputBytes });
  };
  return { scheduler, registry, clock, worker, answer };
}

test("what the worker does not account for is the round trip", () => {
  const { worker, answer } = rig();
  const of = { queuedMs: 30, loadMs: 200, preprocessMs: 3, executeMs: 12, postprocessMs: 5, fetchMs: 0 };
  answer(330, of);
  assert.equal(worker.path.rttMs, 80);
  assert.equal(worker.rtt.smoothedMs, undefined, "its pings are a matter of their own");
});

test("large inputs and outputs say nothing of the round trip, nor does a worker that counts more time than there was", () => {
  const { worker, answer } = rig();
  answer(500, {}, { inputBytes: 9_000 });
  answer(500, {}, { outputBytes: 9_000 });
  answer(500, { executeMs: 600 });
  assert.equal(worker.path.rttMs, undefined);
});

test("a task that was on its way while something large was on the line does not raise the round trip", () => {
  const { worker, answer } = rig();
  for (let i = 0; i < 10; i += 1) answer(60);
  for (let i = 0; i < 6; i += 1) {
    worker.path.site.toSite.expect(2_000_000);
    answer(400);
  }
  assert.ok((worker.path.rttMs ?? 0) < 51);
});

test("what a worker held before its link was opened says nothing", () => {
  const { registry, clock, worker } = rig();
  registry.linkLost(worker, "cut");
  const sentAtMs = clock.monotonic();
  clock.advance(500);
  registry.arrive(worker.hello, new RecordingLink());
  clock.advance(10);
  const answer = { model: MODEL, timings: timings(1), inputBytes: 1, outputBytes: 1 };
  registry.noteAnswer(worker, { ...answer, sentAtMs });
  registry.noteAnswer(worker, { ...answer, sentAtMs: clock.monotonic() - 9 });
  assert.equal(worker.path.rttMs, undefined);
  assert.equal(worker.path.site.completed, 2);
});

test("how long an input took to fetch tells what the line carries, beyond the round trip", () => {
  const { worker, answer } = rig();
  for (let i = 0; i < 5; i += 1) answer(110);
  answer(2000, { fetchMs: 600 }, { inputBytes: 1_000_000 });
  const rate = worker.path.site.toSite.bytesPerSecond ?? 0;
  assert.ok(Math.abs(rate - 2_000_000) < 1, `${rate}`);
  assert.equal(Math.round(worker.path.uploadMs(200_000)), 100);
  assert.equal(worker.path.downloadMs(200_000), 0, "nothing is known of the other way");
});

test("a fetch that took longer than its whole attempt is not believed", () => {
  const { worker, answer } = rig();
  answer(500, { fetchMs: 501 }, { inputBytes: 1_000_000 });
  assert.equal(worker.path.site.toSite.bytesPerSecond, undefined);
});

test("service times are kept for each model, without the time of loading", () => {
  const { worker, answer } = rig();
  answer(500, { loadMs: 300 });
  for (let i = 0; i < 200; i += 1) answer(100, { executeMs: i % 2 === 0 ? 20 : 40 });
  const time = worker.serviceTimes.get("m@1");
  assert.equal(time?.count, 201);
  assert.ok(Math.abs((time?.meanMs ?? 0) - 30) < 3);
  assert.ok(Math.abs((time?.deviationMs ?? 0) - 10) < 3);
  assert.equal(time?.lastMs, 40);
});

test("service times of no more than 256 models are kept: those that were served last", () => {
  const times = new ServiceTimes();
  times.served("first", 1);
  times.served("second", 1);
  for (let i = 0; i < 254; i += 1) times.served(`other-${i}`, 1);
  times.served("first", 2);
  times.served("one more", 1);
  assert.equal([...times.all].length, 256);
  assert.equal(times.get("second"), undefined);
  assert.equal(times.get("first")?.count, 2);
});

test("the tasks of a site are counted beyond the life of its workers", () => {
  const { registry, worker, answer } = rig();
  answer(100);
  registry.giveUp(worker, "gone");
  assert.equal(registry.sites.get("home")?.completed, 1);
  assert.equal(registry.sites.get("home")?.workers, 0);
});

test("the scheduler hands on what an answer tells", () => {
  const scheduler = new SchedulerRig();
  const { worker, link } = scheduler.connect("a");
  scheduler.clock.advance(1000);
  scheduler.submit();
  scheduler.clock.advance(75);
  const output = { kind: "output" as const, tensors: [] };
  scheduler.scheduler.completed(worker, link.tasks[0]?.token ?? 0, output, timings(25));
  assert.equal(worker.path.rttMs, 50);
  assert.equal(worker.path.site.completed, 1);
});
