import assert from "node:assert/strict";
import { test } from "node:test";
import { sampleTask, startTask } from "../store/sample-tasks.ts";
import { SchedulerRig } from "../support/scheduler-rig.ts";

test("restored tasks go first, oldest first; running ones wait again; a deadline that passed ends them", () => {
  const rig = new SchedulerRig();
  const fresh = rig.submit();
  const [old, running, late] = [
    sampleTask(),
    sampleTask(),
    sampleTask({ deadlineAtMs: rig.clock.now() - 1 }),
  ];
  startTask(running);
  for (const task of [late, running, old]) rig.scheduler.restore(task);
  assert.equal(running.state, "PENDING");
  assert.deepEqual(rig.settled, [late]);
  assert.equal(late.error?.code, "deadline_exceeded");
  const { link } = rig.connect("a");
  assert.deepEqual(link.tasks.map(({ taskId }) => taskId).slice(0, 3), [old.id, running.id, fresh.id]);
  assert.equal(rig.scheduler.pendingCount, 3);
});
