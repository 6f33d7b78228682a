import assert from "node:assert/strict";
import { test } from "node:test";
import { fail, toWireError } from "@legacygpu/shared/errors";
import { NO_OUTPUT, SchedulerRig, timings } from "../support/scheduler-rig.ts";

test("a task goes to a worker, runs, and is settled once", () => {
  const rig = new SchedulerRig();
  const { worker, link } = rig.connect("a");
  const task = rig.submit();
  const token = link.tasks[0]?.token ?? 0;
  assert.equal(task.state, "PENDING");
  rig.scheduler.accepted(worker, token);
  assert.equal(task.state, "RUNNING");
  rig.clock.advance(5);
  rig.scheduler.completed(worker, token, NO_OUTPUT, timings(3));
  assert.equal(task.state, "COMPLETED");
  assert.equal(task.timings?.networkMs, 2);
  rig.scheduler.completed(worker, token, NO_OUTPUT, timings(3));
  assert.equal(rig.settled.length, 1);
  assert.equal(rig.counters.staleMessages, 1);
  assert.equal(rig.scheduler.pendingCount + rig.scheduler.runningCount, 0);
});

test("no worker holds more than its credit; the rest waits at the gateway", () => {
  const rig = new SchedulerRig();
  const { worker, link } = rig.connect("a");
  for (let i = 0; i < 100; i += 1) rig.submit();
  for (let answered = 0; answered < 50; answered += 1) {
    const held = link.tasks.length - answered;
    assert.ok(held >= 1 && held <= rig.credit(worker), `${held} of ${rig.credit(worker)}`);
    rig.scheduler.completed(worker, link.tasks[answered]?.token ?? 0, NO_OUTPUT, timings(1));
    rig.scheduler.dispatch();
  }
});

test("a link that cannot take more gets nothing more", () => {
  const rig = new SchedulerRig();
  const { worker, link } = rig.connect("a");
  link.canSend = false;
  rig.submit();
  assert.equal(link.tasks.length, 0);
  link.canSend = true;
  rig.scheduler.dispatching.roomAgain(worker);
  rig.scheduler.dispatch();
  assert.equal(link.tasks.length, 1);
});

test("urgent tasks go first", () => {
  const rig = new SchedulerRig();
  const low = rig.submit({ priority: "LOW" });
  const critical = rig.submit({ priority: "CRITICAL" });
  const { worker, link } = rig.connect("a");
  rig.scheduler.completed(worker, link.tasks[0]?.token ?? 0, NO_OUTPUT, timings(1));
  rig.scheduler.dispatch();
  assert.deepEqual(
    link.tasks.map(({ taskId }) => taskId),
    [critical.id, low.id],
  );
});

test("a lost worker's tasks run elsewhere, and its late answer changes nothing", () => {
  const rig = new SchedulerRig();
  const { worker: first, link: firstLink } = rig.connect("a");
  const task = rig.submit();
  const oldToken = firstLink.tasks[0]?.token ?? 0;
  rig.scheduler.accepted(first, oldToken);
  const { worker: second, link } = rig.connect("b");
  rig.registry.giveUp(first, "killed");
  assert.equal(task.state, "PENDING");
  const newToken = link.tasks[0]?.token ?? 0;
  assert.ok(newToken > oldToken);
  rig.scheduler.completed(first, oldToken, NO_OUTPUT, timings(1));
  assert.equal(task.state, "PENDING");
  rig.scheduler.completed(second, newToken, NO_OUTPUT, timings(1));
  assert.deepEqual(
    task.attempts.map(({ workerId, outcome }) => [workerId, outcome]),
    [
      ["a", "worker_lost"],
      ["b", "completed"],
    ],
  );
  assert.equal(rig.counters.staleMessages, 1);
});

test("a broken link costs nothing when the agent is back within the grace time", () => {
  const rig = new SchedulerRig();
  const { worker, link } = rig.connect("a");
  const task = rig.submit();
  const token = link.tasks[0]?.token ?? 0;
  rig.registry.linkLost(worker, "cut");
  assert.equal(worker.state, "UNHEALTHY");
  rig.clock.advance(900);
  const { worker: back } = rig.connect("a", { held: [{ taskId: task.id, token }] });
  assert.equal(back, worker);
  rig.clock.advance(10_000);
  rig.scheduler.completed(back, token, NO_OUTPUT, timings(1));
  assert.equal(task.state, "COMPLETED");
  assert.equal(task.attempts.length, 1);
});

test("after the grace time the work is given to others, and an agent started anew gets nothing of it", () => {
  const rig = new SchedulerRig();
  const { worker, link } = rig.connect("a");
  rig.submit();
  rig.registry.linkLost(worker, "cut");
  rig.clock.advance(1001);
  assert.equal(worker.state, "GONE");
  const { worker: fresh, link: freshLink } = rig.connect("a", { instanceId: "a-2" });
  assert.notEqual(fresh, worker);
  assert.notEqual(freshLink.tasks[0]?.token, link.tasks[0]?.token);
});

test("a retryable failure is tried elsewhere; on the same worker only when there is no other", () => {
  const rig = new SchedulerRig();
  const { worker, link } = rig.connect("a");
  const task = rig.submit();
  const broken = toWireError(fail("transfer_failed"));
  rig.scheduler.failed(worker, link.tasks[0]?.token ?? 0, broken);
  rig.clock.advance(0);
  assert.equal(link.tasks.length, 2, "alone, it gets the task again");
  const { worker: other, link: otherLink } = rig.connect("b");
  rig.scheduler.failed(worker, link.tasks[1]?.token ?? 0, broken);
  rig.clock.advance(0);
  assert.equal(otherLink.tasks.length, 1);
  rig.scheduler.failed(other, otherLink.tasks[0]?.token ?? 0, broken);
  assert.equal(task.state, "FAILED");
  assert.equal(task.error?.code, "transfer_failed");
  assert.equal(task.error?.retryable, false);
  assert.equal(task.isDeadLetter, true);
});

test("an error of the input is not tried again", () => {
  const rig = new SchedulerRig();
  const { worker, link } = rig.connect("a");
  const task = rig.submit();
  rig.scheduler.failed(worker, link.tasks[0]?.token ?? 0, toWireError(fail("input_invalid", "no input")));
  assert.equal(task.state, "FAILED");
  assert.equal(link.tasks.length, 1);
});

test("a worker that could not load a model is not asked for it until some time has passed", () => {
  const rig = new SchedulerRig();
  const { worker, link } = rig.connect("a");
  const task = rig.submit();
  rig.scheduler.failed(
    worker,
    link.tasks[0]?.token ?? 0,
    toWireError(fail("model_load_failed", "no space left")),
  );
  rig.clock.advance(0);
  assert.equal(task.state, "PENDING");
  assert.match(rig.scheduler.view.explain(task.id)?.reason ?? "", /No worker can run m@1: no space left/);
  rig.clock.advance(31_000);
  rig.scheduler.dispatch();
  assert.equal(link.tasks.length, 2);
});

test("a deadline ends a waiting task and a running one, and tells the worker", () => {
  const rig = new SchedulerRig();
  const waiting = rig.submit({ deadlineMs: 1000 });
  rig.clock.advance(1000);
  assert.equal(waiting.state, "TIMED_OUT");
  assert.match(waiting.error?.message ?? "", /No worker is connected/);
  const { worker, link } = rig.connect("a");
  const running = rig.submit({ deadlineMs: 1000 });
  assert.equal(link.tasks[0]?.budgetMs, 1000);
  rig.scheduler.accepted(worker, link.tasks[0]?.token ?? 0);
  rig.clock.advance(1000);
  assert.equal(running.state, "TIMED_OUT");
  assert.equal(link.sent.at(-1)?.type, "cancel");
  rig.scheduler.close();
  assert.equal(rig.clock.pendingCount, 0);
});

test("cancelling is immediate in every state and idempotent", () => {
  const rig = new SchedulerRig();
  const waiting = rig.submit();
  assert.equal(rig.scheduler.cancel(waiting.id, "no longer needed"), true);
  assert.equal(rig.scheduler.cancel(waiting.id, "no longer needed"), false);
  const { worker, link } = rig.connect("a");
  assert.equal(link.tasks.length, 0);
  const running = rig.submit();
  rig.scheduler.accepted(worker, link.tasks[0]?.token ?? 0);
  rig.scheduler.cancel(running.id, "no longer needed");
  assert.equal(running.state, "CANCELLED");
  assert.equal(worker.inFlight, 0);
  assert.equal(rig.scheduler.runningCount, 0);
});

test("the reason of a waiting task says what is missing", () => {
  const rig = new SchedulerRig();
  const first = rig.submit();
  assert.match(rig.scheduler.view.explain(first.id)?.reason ?? "", /No worker is connected; start one/);
  const { worker } = rig.connect("a");
  assert.match(rig.scheduler.view.explain(first.id)?.reason ?? "", /Sent to worker a/);
  for (let i = 0; i < 5; i += 1) rig.submit();
  const last = rig.submit();
  assert.match(
    rig.scheduler.view.explain(last.id)?.reason ?? "",
    /The only worker is busy; 5 tasks are ahead/,
  );
  rig.registry.drain(worker, "maintenance");
  assert.match(rig.scheduler.view.explain(last.id)?.reason ?? "", /a is DRAINING \(maintenance\)/);
});

test("the same worker id cannot be taken by a second live agent", () => {
  const rig = new SchedulerRig();
  rig.connect("a");
  assert.throws(() => rig.connect("a", { instanceId: "a-2" }), /taken/);
});
