/** Tasks that several workers have at once: the first answer wins. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type ErrorCode, fail, toWireError } from "@legacygpu/shared/errors";
import type { GatewayMessage, MessageOf } from "@legacygpu/shared/protocol/messages";
import { executionMs } from "../../gateway/limits/execution-time.ts";
import type { Hello, Worker } from "../../gateway/registry/worker.ts";
import { countedAttempts, type TaskRecord } from "../../gateway/tasks/record.ts";
import { taskEvents } from "../../gateway/tasks/task-events.ts";
import { taskJson } from "../../gateway/tasks/task-json.ts";
import { NO_OUTPUT, type RecordingLink, SchedulerRig, timings } from "../support/scheduler-rig.ts";

interface Box {
  readonly worker: Worker;
  readonly link: RecordingLink;
}

const RELEASES: Partial<Hello> = { releases: true };

const tokenOf = ({ link }: Box): number => link.tasks.at(-1)?.token ?? 0;
const cancels = ({ link }: Box): MessageOf<GatewayMessage, "cancel">[] =>
  link.sent.filter((message) => message.type === "cancel");
const failWith = (rig: SchedulerRig, box: Box, code: ErrorCode): void =>
  rig.scheduler.failed(box.worker, tokenOf(box), toWireError(fail(code)));
const outcomes = ({ attempts }: TaskRecord): unknown[] =>
  attempts.map(({ workerId, outcome }) => [workerId, outcome]);

/** A task that worker `a` has, and a copy of it with worker `b`. */
function copied(
  more: Partial<Hello> = RELEASES,
  wishes: Parameters<SchedulerRig["submit"]>[0] = {},
): { rig: SchedulerRig; task: TaskRecord; a: Box; b: Box } {
  const rig = new SchedulerRig();
  const a = rig.connect("a", more);
  const task = rig.submit(wishes);
  const b = rig.connect("b", more);
  assert.equal(rig.scheduler.copy(task.id, b.worker, "hedge"), true);
  return { rig, task, a, b };
}

test("the first answer wins; the other attempt is superseded and keeps its worker busy until that says it is done", () => {
  const { rig, task, a, b } = copied();
  assert.ok(tokenOf(b) > tokenOf(a));
  rig.scheduler.accepted(a.worker, tokenOf(a));
  rig.scheduler.completed(b.worker, tokenOf(b), NO_OUTPUT, timings(3));
  assert.equal(task.state, "COMPLETED");
  assert.deepEqual(outcomes(task), [
    ["a", "superseded"],
    ["b", "completed"],
  ]);
  const [cancel] = cancels(a);
  assert.deepEqual([cancel?.token, cancel?.isSuperseded], [tokenOf(a), true]);
  assert.deepEqual(rig.superseded, [{ workerId: "a", token: tokenOf(a) }]);
  assert.deepEqual([a.worker.inFlight, b.worker.inFlight, rig.scheduler.supersededCount], [1, 0, 1]);
  rig.scheduler.released(a.worker, tokenOf(a), timings(9));
  assert.deepEqual([a.worker.inFlight, rig.scheduler.supersededCount], [0, 0]);
  assert.deepEqual(rig.released, [{ workerId: "a", token: tokenOf(a), timings: timings(9) }]);
  rig.scheduler.released(a.worker, tokenOf(a), timings(9));
  assert.equal(rig.released.length, 1, "once");
  assert.equal(rig.settled.length, 1);
  assert.equal(rig.counters.staleMessages, 0);
});

test("an answer that crosses the word that it is superseded says that the worker is done", () => {
  for (const answer of ["result", "failure"] as const) {
    const { rig, task, a, b } = copied();
    rig.scheduler.completed(b.worker, tokenOf(b), NO_OUTPUT, timings(3));
    rig.scheduler.accepted(a.worker, tokenOf(a));
    if (answer === "result") rig.scheduler.completed(a.worker, tokenOf(a), NO_OUTPUT, timings(9));
    else failWith(rig, a, "transfer_failed");
    const expected = answer === "result" ? timings(9) : undefined;
    assert.deepEqual(rig.released, [{ workerId: "a", token: tokenOf(a), timings: expected }]);
    assert.equal(a.worker.inFlight, 0);
    assert.deepEqual([task.timings?.onWorker.executeMs, task.attempts[0]?.acceptedAtMs], [3, undefined]);
    assert.deepEqual([rig.settled.length, rig.counters.staleMessages], [1, 0]);
  }
});

test("an agent that does not say when it is done has room again as soon as it is told", () => {
  const { rig, a, b } = copied({});
  rig.scheduler.completed(b.worker, tokenOf(b), NO_OUTPUT, timings(3));
  assert.equal(cancels(a).length, 1);
  assert.equal(a.worker.inFlight, 0);
  assert.deepEqual(rig.released, [{ workerId: "a", token: tokenOf(a), timings: undefined }]);
});

test("what is superseded is let go with its link, and with its worker", () => {
  for (const end of ["cut before", "cut after", "gone"] as const) {
    const { rig, task, a, b } = copied();
    const held = [{ taskId: task.id, token: tokenOf(a) }];
    if (end === "cut before") rig.registry.linkLost(a.worker, "cut");
    rig.scheduler.completed(b.worker, tokenOf(b), NO_OUTPUT, timings(3));
    if (end === "cut after") rig.registry.linkLost(a.worker, "cut");
    if (end === "gone") rig.registry.giveUp(a.worker, "killed");
    else assert.deepEqual(rig.greet("a", { ...RELEASES, held }).keep, []);
    assert.deepEqual(rig.released, [{ workerId: "a", token: held[0]?.token, timings: undefined }], end);
    assert.deepEqual([a.worker.inFlight, rig.scheduler.supersededCount], [0, 0]);
    assert.deepEqual(outcomes(task)[0], ["a", "superseded"]);
  }
});

test("no copy is made of what nobody has, of what has ended, for a worker that has it, or without a link", () => {
  const rig = new SchedulerRig();
  const waiting = rig.submit();
  const a = rig.connect("a");
  const b = rig.connect("b");
  const copy = (id = waiting.id, { worker } = b): boolean => rig.scheduler.copy(id, worker, "probe");
  assert.equal(copy(rig.task().id), false, "unknown");
  assert.equal(copy(waiting.id, a), false, "it has it");
  assert.equal(copy(), true);
  assert.equal(copy(), false, "it has the copy");
  rig.registry.linkLost(b.worker, "cut");
  const c = rig.connect("c");
  rig.registry.linkLost(c.worker, "cut");
  assert.equal(copy(waiting.id, c), false, "no link");
  rig.scheduler.completed(a.worker, tokenOf(a), NO_OUTPUT, timings(1));
  const d = rig.connect("d");
  assert.equal(copy(waiting.id, d), false, "ended");
  const other = rig.submit({ placement: { sites: ["elsewhere"] } });
  assert.equal(copy(other.id, d), false, "waiting");
  assert.equal(d.link.tasks.length, 0);
});

test("a failure is only noted while another worker has the task; the last one decides", () => {
  const { rig, task, a, b } = copied(RELEASES, { maxAttempts: 2 });
  rig.scheduler.accepted(a.worker, tokenOf(a));
  assert.equal(task.state, "RUNNING");
  failWith(rig, a, "model_run_failed");
  assert.equal(task.state, "PENDING", "the copy has not begun");
  assert.deepEqual(outcomes(task), [
    ["a", "failed"],
    ["b", undefined],
  ]);
  assert.deepEqual([a.worker.failed, a.worker.inFlight, rig.settled.length], [1, 0, 0]);
  rig.scheduler.accepted(b.worker, tokenOf(b));
  assert.equal(task.state, "RUNNING");
  failWith(rig, b, "transfer_failed");
  rig.clock.advance(0);
  assert.deepEqual([task.state, countedAttempts(task)], ["PENDING", 1]);
  assert.equal(task.attempts.length, 3, "one ordinary attempt is left, for the copy was none");
  const last = [a, b].find(({ link }) => link.tasks.length === 2) as Box;
  failWith(rig, last, "transfer_failed");
  assert.deepEqual([task.state, task.isDeadLetter], ["FAILED", true]);
  assert.match(task.error?.message ?? "", /\(attempt 2, no more are made\)/);
});

test("copies cost a task no attempt, but runners that they killed count", () => {
  const { rig, task, a, b } = copied(RELEASES, { maxAttempts: 10 });
  failWith(rig, b, "runner_crashed");
  assert.deepEqual([task.state, countedAttempts(task)], ["PENDING", 0]);
  failWith(rig, a, "runner_crashed");
  assert.equal(task.error?.code, "task_poisonous");
});

test("a time that is over for one attempt is not over for the other", () => {
  const { rig, task, a, b } = copied();
  failWith(rig, a, "execution_timeout");
  assert.equal(task.state, "PENDING");
  failWith(rig, b, "execution_timeout");
  assert.equal(task.state, "TIMED_OUT");
});

test("an attempt that is lost while another one lives is closed at once and cannot be had back", () => {
  const { rig, task, a, b } = copied();
  const token = tokenOf(a);
  rig.scheduler.accepted(a.worker, token);
  rig.registry.giveUp(a.worker, "silent");
  assert.deepEqual([task.state, rig.scheduler.runningCount], ["PENDING", 0]);
  assert.equal(task.attempts[0]?.outcome, "worker_lost");
  assert.equal(task.attempts[0]?.error?.code, "worker_lost");
  assert.deepEqual(rig.greet("a", { held: [{ taskId: task.id, token }] }).keep, []);
  assert.equal(task.attempts.length, 2, "it was not begun again");
  rig.scheduler.completed(b.worker, tokenOf(b), NO_OUTPUT, timings(1));
  assert.equal(task.state, "COMPLETED");
  assert.equal(rig.counters.attemptsLost, 1);
});

test("the last one that was lost may be had back, also when it is not the newest", () => {
  const { rig, task, a, b } = copied();
  const held = [{ taskId: task.id, token: tokenOf(a) }];
  failWith(rig, b, "transfer_failed");
  rig.registry.drain(b.worker, "not now");
  rig.registry.giveUp(a.worker, "silent");
  const back = rig.greet("a", { held });
  assert.deepEqual(back.keep, [held[0]?.token]);
  assert.equal(task.attempts.length, 2);
  rig.scheduler.completed(back.worker, held[0]?.token ?? 0, NO_OUTPUT, timings(1));
  assert.deepEqual(outcomes(task), [
    ["a", "completed"],
    ["b", "failed"],
  ]);
});

test("whoever comes back goes on with what is still live there, copy or not", () => {
  const { rig, task, a, b } = copied();
  const greeted = [a, b].map((box) => {
    const held = [{ taskId: task.id, token: tokenOf(box) }];
    rig.registry.linkLost(box.worker, "cut");
    return rig.greet(box.worker.id, { ...RELEASES, held });
  });
  assert.deepEqual(
    greeted.map(({ keep }) => keep),
    [[tokenOf(a)], [tokenOf(b)]],
  );
  rig.scheduler.completed(b.worker, tokenOf(b), NO_OUTPUT, timings(1));
  assert.equal(task.state, "COMPLETED");
  assert.equal(rig.counters.attemptsLost, 0);
});

test("a cancel and a deadline withdraw every attempt", () => {
  const cancelled = copied();
  cancelled.rig.scheduler.cancel(cancelled.task.id, "no longer needed");
  const late = copied(RELEASES, { deadlineMs: 1000 });
  late.rig.scheduler.accepted(late.b.worker, tokenOf(late.b));
  late.rig.clock.advance(1000);
  assert.match(late.task.error?.message ?? "", /while it ran/);
  for (const { rig, task, a, b } of [cancelled, late]) {
    assert.equal(task.state, rig === late.rig ? "TIMED_OUT" : "CANCELLED");
    for (const box of [a, b]) {
      assert.deepEqual(
        cancels(box).map(({ token, isSuperseded }) => [token, isSuperseded]),
        [[tokenOf(box), undefined]],
      );
      assert.equal(box.worker.inFlight, 0);
    }
    assert.deepEqual([rig.scheduler.runningCount, rig.scheduler.supersededCount], [0, 0]);
  }
});

test("every worker that has the task may fetch its input, and no other token may", () => {
  const { rig, task, a, b } = copied();
  for (const box of [a, b]) {
    assert.deepEqual(rig.scheduler.view.inputOf(task.id, tokenOf(box), "key"), task.input);
    assert.equal(rig.scheduler.view.holderOf(task.id, tokenOf(box)), box.worker);
  }
  assert.throws(() => rig.scheduler.view.inputOf(task.id, 1, "key"), { code: "attempt_not_found" });
  assert.deepEqual(rig.scheduler.view.running(), []);
  for (const box of [a, b]) rig.scheduler.accepted(box.worker, tokenOf(box));
  assert.deepEqual(rig.scheduler.view.running(), [task], "once");
  assert.deepEqual(
    [...rig.scheduler.view.held()].map(({ workerId }) => workerId),
    ["a", "b"],
  );
});

test("a copy whose input cannot be read is not made, and the task goes on", () => {
  const rig = new SchedulerRig();
  const a = rig.connect("a");
  const task = rig.submit();
  const b = rig.connect("b");
  rig.stored.delete(task.id);
  task.input = undefined;
  assert.equal(rig.scheduler.copy(task.id, b.worker, "hedge"), false);
  assert.equal(b.link.sent.length, 0);
  rig.scheduler.completed(a.worker, tokenOf(a), NO_OUTPUT, timings(1));
  assert.equal(task.state, "COMPLETED");
});

test("after a restart the ordinary attempt is waited for, and the copy is closed", () => {
  const before = copied();
  const { task } = before;
  const token = tokenOf(before.a);
  const rig = new SchedulerRig({ firstToken: 2_000_000 });
  rig.stored.set(task.id, task);
  const pending = {
    id: task.id,
    tenant: task.tenant,
    classIndex: 2,
    group: "m@1",
    inputBytes: task.inputBytes,
    deadlineAtMs: undefined,
    lastToken: token,
    heldBy: "a",
  };
  rig.scheduler.restore(pending);
  const copyHolder = rig.greet("b", { held: [{ taskId: task.id, token: tokenOf(before.b) }] });
  assert.deepEqual(copyHolder.keep, []);
  const back = rig.greet("a", { held: [{ taskId: task.id, token }] });
  assert.deepEqual(back.keep, [token]);
  rig.scheduler.completed(back.worker, token, NO_OUTPUT, timings(1));
  assert.deepEqual(outcomes(task), [
    ["a", "completed"],
    ["b", "worker_lost"],
  ]);
});

test("the task shows why a copy was made, and its events tell of a copy only when it was answered first", () => {
  const { rig, task, a, b } = copied();
  rig.scheduler.accepted(a.worker, tokenOf(a));
  const before = taskEvents(task);
  assert.deepEqual(
    before.map(({ name }) => name),
    ["queued", "assigned", "started"],
  );
  rig.scheduler.accepted(b.worker, tokenOf(b));
  assert.deepEqual(taskEvents(task), before);
  rig.scheduler.completed(b.worker, tokenOf(b), NO_OUTPUT, timings(1));
  const events = taskEvents(task);
  assert.deepEqual(events.slice(0, 3), before);
  assert.deepEqual(
    events.slice(3).map(({ name, attempt }) => [name, attempt?.n]),
    [
      ["assigned", 2],
      ["started", 2],
      ["completed", undefined],
    ],
  );
  const { attempts, attempt } = taskJson(task, undefined);
  assert.deepEqual(
    attempts.map(({ worker, outcome, purpose }) => [worker, outcome, purpose]),
    [
      ["a", "superseded", undefined],
      ["b", "completed", "hedge"],
    ],
  );
  assert.equal("purpose" in (attempts[0] ?? {}), false);
  assert.equal(attempt, 1);
});

test("its owner is charged for the answer alone, not for what ran beside it", () => {
  const { rig, task, a, b } = copied();
  const c = rig.connect("c");
  rig.scheduler.copy(task.id, c.worker, "rescue");
  for (const box of [a, b, c]) rig.scheduler.accepted(box.worker, tokenOf(box));
  rig.clock.advance(500);
  failWith(rig, c, "execution_timeout");
  rig.scheduler.completed(b.worker, tokenOf(b), NO_OUTPUT, timings(3));
  assert.deepEqual(outcomes(task), [
    ["a", "superseded"],
    ["b", "completed"],
    ["c", "timed_out"],
  ]);
  assert.equal(executionMs(task), 3);
});
