import assert from "node:assert/strict";
import { test } from "node:test";
import type { RestoredTask } from "../../gateway/scheduler/entry.ts";
import { groupOf, type TaskRecord } from "../../gateway/tasks/record.ts";
import { NO_OUTPUT, SchedulerRig, timings } from "../support/scheduler-rig.ts";

const OLD_TOKEN = 500;

/** What a store answers with for a task of an earlier start. */
function pendingOf(task: TaskRecord, heldBy?: string): RestoredTask {
  return {
    id: task.id,
    tenant: task.tenant,
    classIndex: 2,
    group: groupOf(task),
    inputBytes: task.inputBytes,
    deadlineAtMs: task.deadlineAtMs,
    lastToken: heldBy === undefined ? 0 : OLD_TOKEN,
    heldBy,
  };
}

function restored(rig: SchedulerRig, heldBy?: string, deadlineMs?: number): TaskRecord {
  const task = rig.task(deadlineMs === undefined ? {} : { deadlineMs });
  if (heldBy !== undefined) {
    task.attempts.push({
      token: OLD_TOKEN,
      workerId: heldBy,
      site: "lab",
      startedAtMs: rig.clock.now(),
      acceptedAtMs: rig.clock.now(),
      endedAtMs: undefined,
      outcome: undefined,
      error: undefined,
    });
  }
  rig.stored.set(task.id, task);
  rig.scheduler.restore(pendingOf(task, heldBy));
  return task;
}

test("restored tasks go before new ones, oldest first; a deadline that passed ends them", () => {
  const rig = new SchedulerRig();
  const old = restored(rig);
  const next = restored(rig);
  const late = restored(rig, undefined, -1);
  const fresh = rig.submit();
  rig.clock.advance(0);
  assert.deepEqual(rig.settled, [late]);
  assert.equal(late.error?.code, "deadline_exceeded");
  const { worker, link } = rig.connect("a");
  for (let i = 0; i < 3; i += 1) {
    rig.scheduler.completed(worker, link.tasks[i]?.token ?? 0, NO_OUTPUT, timings(1));
    rig.scheduler.dispatch();
  }
  assert.deepEqual(
    link.tasks.map(({ taskId }) => taskId),
    [old.id, next.id, fresh.id],
  );
});

test("what a worker held is kept for it for a lease, and it goes on with the token it has", () => {
  const rig = new SchedulerRig();
  const task = restored(rig, "a");
  const { link: other } = rig.connect("b");
  rig.clock.advance(14_000);
  assert.equal(other.tasks.length, 0);
  assert.match(
    rig.scheduler.view.explain(task.id)?.reason ?? "",
    /Worker a had it when the gateway was restarted/,
  );
  const held = [{ taskId: task.id, token: OLD_TOKEN }];
  const { worker, link, keep } = rig.greet("a", { held });
  assert.deepEqual(keep, [OLD_TOKEN]);
  assert.equal(link.tasks.length, 0);
  assert.equal(task.state, "RUNNING");
  rig.scheduler.completed(worker, OLD_TOKEN, NO_OUTPUT, timings(1));
  assert.equal(task.state, "COMPLETED");
  assert.equal(task.attempts.length, 1);
  assert.equal(rig.counters.attemptsReclaimed, 1);
});

test("after the lease the task runs elsewhere, and its first worker comes too late", () => {
  const rig = new SchedulerRig();
  const task = restored(rig, "a");
  const { worker, link } = rig.connect("b");
  rig.clock.advance(15_000);
  const [sent] = link.tasks;
  assert.equal(sent?.taskId, task.id);
  assert.ok((sent?.token ?? 0) > OLD_TOKEN);
  const { keep } = rig.greet("a", { held: [{ taskId: task.id, token: OLD_TOKEN }] });
  assert.deepEqual(keep, []);
  rig.scheduler.completed(worker, sent?.token ?? 0, NO_OUTPUT, timings(1));
  assert.deepEqual(
    task.attempts.map(({ workerId, outcome }) => [workerId, outcome]),
    [
      ["a", "worker_lost"],
      ["b", "completed"],
    ],
  );
});

test("a worker cannot have what another one held, and nobody what was never given out", () => {
  const rig = new SchedulerRig();
  const held = restored(rig, "a");
  const free = restored(rig);
  const thief = rig.greet("thief", { held: [{ taskId: held.id, token: OLD_TOKEN }] });
  assert.deepEqual(thief.keep, []);
  rig.registry.giveUp(thief.worker, "test");
  const invented = rig.greet("b", { held: [{ taskId: free.id, token: 2_000_000 }] });
  assert.deepEqual(invented.keep, []);
});

test("a token that was given out just before a crash is believed: nobody else can have it", () => {
  const rig = new SchedulerRig();
  const task = restored(rig);
  const { worker, keep } = rig.greet("a", { held: [{ taskId: task.id, token: OLD_TOKEN + 7 }] });
  assert.deepEqual(keep, [OLD_TOKEN + 7]);
  rig.scheduler.completed(worker, OLD_TOKEN + 7, NO_OUTPUT, timings(1));
  assert.equal(task.state, "COMPLETED");
});

test("a record that cannot be read ends its task with the reason, and others go on", () => {
  const rig = new SchedulerRig();
  const lost = restored(rig);
  const fine = restored(rig);
  rig.stored.delete(lost.id);
  const { link } = rig.connect("a");
  assert.deepEqual(
    rig.settled.map(({ id, state, error }) => [id, state, error?.code]),
    [[lost.id, "FAILED", "store_corrupt"]],
  );
  assert.deepEqual(
    link.tasks.map(({ taskId }) => taskId),
    [fine.id],
  );
});
