import assert from "node:assert/strict";
import { test } from "node:test";
import { ScheduledWorker } from "../../gateway/scheduler/scheduled-worker.ts";
import { SchedulerRig } from "../support/scheduler-rig.ts";

const MODEL = "m@1";

function scheduled(largestBatch: number): ScheduledWorker {
  const { worker } = new SchedulerRig().connect("a");
  return new ScheduledWorker(worker, () => largestBatch);
}

test("a worker that joins tasks is expected to join twice as many, up to what the model allows", () => {
  const worker = scheduled(16);
  const seen: number[] = [];
  for (let i = 0; i < 5; i += 1) {
    const limit = worker.maxBatch(MODEL);
    seen.push(limit);
    worker.ranAsOne(MODEL, limit);
  }
  assert.deepEqual(seen, [2, 4, 8, 16, 16]);
});

test("when tasks stop to fit together less is expected again", () => {
  const worker = scheduled(16);
  worker.ranAsOne(MODEL, 16);
  for (let i = 0; i < 400; i += 1) worker.ranAsOne(MODEL, 1);
  assert.ok(worker.maxBatch(MODEL) <= 3, `${worker.maxBatch(MODEL)}`);
});

test("a model whose tasks run alone is never expected to be joined, whatever a worker says", () => {
  const worker = scheduled(1);
  worker.ranAsOne(MODEL, 1024);
  assert.equal(worker.maxBatch(MODEL), 1);
});

test("workers are told apart by the labels that are asked for, and not by those that only name them", () => {
  const rig = new SchedulerRig();
  const [a, b] = ["a", "b"].map((id) => {
    const { worker } = rig.connect(id, { labels: { box: id, tier: "gold" } });
    return new ScheduledWorker(worker, () => 1);
  }) as [ScheduledWorker, ScheduledWorker];
  assert.equal(a.capability, b.capability);
  for (const labels of [["tier"], ["box"], undefined]) {
    for (const one of [a, b]) one.tellApartBy(labels);
    const isOne = labels?.[0] === "tier";
    assert.equal(a.capability === b.capability, isOne, `${labels}`);
  }
});
