/** What tasks cost their tenant: charged when they are accepted, and for the time that they took a worker. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { ACME, submission, TasksRig } from "./tasks-rig.ts";

test("every way to hand in a task is charged, and what is over the quota leaves no trace", async (t) => {
  const rig = new TasksRig(t, { default: { tasks: 5 } });
  await rig.tasks.submit(ACME, [submission()]);
  await rig.batches.create(
    ACME,
    { model: "m", priority: "NORMAL", durability: "flushed" },
    [1, 2].map(() => ({ submission: submission(), reference: undefined })),
  );
  const inference = rig.tasks.infer(ACME, submission());
  inference.done.catch(() => {});
  assert.equal(rig.used.tasks, 4);
  const refused = { code: "quota_exceeded" };
  await assert.rejects(rig.tasks.submit(ACME, [submission(), submission()]), refused);
  await rig.tasks.submit(ACME, [submission()]);
  assert.throws(() => rig.tasks.infer(ACME, submission()), refused);
  assert.equal(rig.used.tasks, 5);
  assert.equal(rig.admission.usageOf("acme").tasks, 5);
  const { tasks } = await rig.tasks.list(ACME, { limit: 100 });
  assert.equal(tasks.length, 4, "all but the synchronous one are stored");
});

test("what the queue or the store does not take is not charged", async (t) => {
  const rig = new TasksRig(t, { default: { tasks: 100 } });
  await assert.rejects(rig.tasks.submit(ACME, new Array(9).fill(submission())), { code: "body_too_large" });
  assert.equal(rig.used.tasks, 0);
  rig.store.isFull = true;
  await assert.rejects(rig.tasks.submit(ACME, [submission(), submission()]), { code: "store_full" });
  assert.equal(rig.used.tasks, 0);
  assert.equal(rig.admission.usageOf("acme").tasks, 0);
});

test("what the worker says that a model ran is charged as GPU time when the task has ended", async (t) => {
  const rig = new TasksRig(t);
  await rig.tasks.submit(ACME, [submission()]);
  assert.equal(rig.used.gpuSeconds, 0);
  rig.completeAfter(900, 250);
  assert.equal(rig.used.gpuSeconds, 0.25);
  const inference = rig.tasks.infer(ACME, submission());
  rig.completeAfter(900, 50);
  await inference.done;
  assert.equal(rig.used.gpuSeconds, 0.3);
});

test("an attempt without a result is charged from its beginning to its end", async (t) => {
  const rig = new TasksRig(t);
  await rig.tasks.submit(ACME, [submission({ maxAttempts: 1 })]);
  rig.failAfter(700, "model_run_failed");
  assert.equal(rig.used.gpuSeconds, 0.7);
  await rig.tasks.submit(ACME, [submission()]);
  rig.failAfter(2000, "execution_timeout");
  assert.equal(rig.used.gpuSeconds, 2.7);
  const [task] = await rig.tasks.submit(ACME, [submission()]);
  rig.runFor(300, () => {});
  await rig.tasks.cancel(ACME, task?.id ?? "");
  assert.equal(rig.used.gpuSeconds, 3);
});

test("what was the system's fault, or never begun, is nobody's to pay", async (t) => {
  const rig = new TasksRig(t);
  const [first] = await rig.tasks.submit(ACME, [submission({ backoffMs: 0 })]);
  rig.failAfter(700, "transfer_failed");
  rig.clock.advance(0);
  rig.completeAfter(100, 40);
  assert.equal((await rig.tasks.get(ACME, first?.id ?? "")).attempts.length, 2);
  assert.equal(rig.used.gpuSeconds, 0.04);
  const [second] = await rig.tasks.submit(ACME, [submission()]);
  rig.clock.advance(500);
  await rig.tasks.cancel(ACME, second?.id ?? "");
  assert.equal(rig.used.gpuSeconds, 0.04);
});

test("another try of a task that failed is one more task, and only its own attempts are charged for it", async (t) => {
  const rig = new TasksRig(t, { default: { tasks: 2 } });
  const [task] = await rig.tasks.submit(ACME, [submission({ maxAttempts: 1 })]);
  const id = task?.id ?? "";
  rig.failAfter(700, "model_run_failed");
  await rig.tasks.retry(ACME, id);
  rig.failAfter(100, "model_run_failed");
  assert.deepEqual(rig.used, { tasks: 2, gpuSeconds: 0.8 });
  await assert.rejects(rig.tasks.retry(ACME, id), { code: "quota_exceeded" });
  assert.equal((await rig.tasks.get(ACME, id)).state, "FAILED");
});
