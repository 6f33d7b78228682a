/** What the gateway makes of a worker whose disk is full. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fail, toWireError } from "@legacygpu/shared/errors";
import { SchedulerRig } from "../support/scheduler-rig.ts";

const FULL = toWireError(fail("disk_full", "A model file of 9 bytes does not fit on the disk of /models."));

test("a full disk sends the task to another worker, as any model that could not be loaded, under its own name", () => {
  const rig = new SchedulerRig();
  const full = rig.connect("full");
  const task = rig.submit({ maxAttempts: 2, backoffMs: 0 });
  const other = rig.connect("other");
  rig.scheduler.failed(full.worker, full.link.tasks[0]?.token ?? 0, FULL);
  rig.clock.advance(0);
  assert.equal(other.link.tasks.length, 1);
  assert.equal(task.attempts[0]?.error?.code, "disk_full");
  rig.scheduler.failed(other.worker, other.link.tasks[0]?.token ?? 0, FULL);
  assert.deepEqual([task.state, task.isDeadLetter, task.error?.code], ["FAILED", true, "disk_full"]);
});

test("whoever does not want to retry loads is not retried for a full disk", () => {
  const rig = new SchedulerRig();
  const { worker, link } = rig.connect("full");
  const task = rig.submit({ retryOn: ["worker_lost"] });
  rig.scheduler.failed(worker, link.tasks[0]?.token ?? 0, FULL);
  assert.deepEqual([task.state, task.error?.code], ["FAILED", "disk_full"]);
});
