/** How much a worker that joins tasks of a model is given, and that others do not pay for it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeValue, gatewayFrames } from "@legacygpu/shared/protocol/codec";
import { executionMs } from "../../gateway/limits/execution-time.ts";
import { Session } from "../../gateway/link/session.ts";
import type { TaskRecord } from "../../gateway/tasks/record.ts";
import { floats } from "../support/fake-gateway.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { hello, NO_OUTPUT, type RecordingLink, SchedulerRig, timings } from "../support/scheduler-rig.ts";

type Connected = ReturnType<SchedulerRig["connect"]>;

function isOpenTask({ worker }: Connected, token: number): boolean {
  return worker.tokens.has(token);
}

/** Answers the oldest `count` tasks of a model that the worker has, as one. */
function answer(
  rig: SchedulerRig,
  connected: Connected,
  model: string,
  count: number,
  batchSize = count,
): number {
  const held = connected.link.tasks.filter(
    (task) => task.model.name === model && isOpenTask(connected, task.token),
  );
  const batch = held.slice(0, count);
  rig.scheduler.together(() => {
    for (const { token } of batch) {
      const spent = { ...timings(5), batchSize: batchSize === 1 ? undefined : batchSize };
      rig.scheduler.completed(connected.worker, token, NO_OUTPUT, spent);
    }
  });
  return batch.length;
}

const heldOf = (
  { worker, link }: { worker: Connected["worker"]; link: RecordingLink },
  model: string,
): number => link.tasks.filter((task) => task.model.name === model && worker.tokens.has(task.token)).length;

/** Each model has an owner of its own: of one owner the oldest goes first, whatever its model. */
function submit(rig: SchedulerRig, model: string, count: number): TaskRecord[] {
  return Array.from({ length: count }, () => rig.submit({ model, tenant: model }));
}

/** Until batches of `size` are known to be usual. */
function grow(rig: SchedulerRig, connected: Connected, model: string, size: number): void {
  for (let round = 0; round < 10; round += 1) {
    const held = heldOf(connected, model);
    answer(rig, connected, model, Math.min(size, held));
  }
}

test("a worker that joins tasks is soon given enough of them for the batch that runs and the next", () => {
  const rig = new SchedulerRig();
  const connected = rig.connect("a");
  submit(rig, "batched", 500);
  assert.equal(heldOf(connected, "batched"), connected.worker.credit);
  grow(rig, connected, "batched", 16);
  assert.ok(heldOf(connected, "batched") >= 2 * 16);
  assert.ok(heldOf(connected, "batched") <= 16 * connected.worker.credit + 1);
});

test("nobody holds more than the bound, however large the batches are said to be", () => {
  const rig = new SchedulerRig();
  const connected = rig.connect("a");
  submit(rig, "batched", 2000);
  for (let round = 0; round < 3; round += 1)
    answer(rig, connected, "batched", heldOf(connected, "batched"), 1024);
  assert.equal(connected.worker.inFlight, 256);
});

test("a worker that joins none is given what it always was, whatever the model allows", () => {
  const rig = new SchedulerRig();
  const connected = rig.connect("old");
  submit(rig, "batched", 100);
  for (let i = 0; i < 20; i += 1) answer(rig, connected, "batched", 1);
  assert.equal(heldOf(connected, "batched"), connected.worker.credit);
  assert.equal(connected.worker.load, connected.worker.inFlight);
});

test("tasks of another model get their turn on a worker that is full of batches", () => {
  const rig = new SchedulerRig();
  const connected = rig.connect("a");
  submit(rig, "batched", 2000);
  grow(rig, connected, "batched", 16);
  const singles = submit(rig, "single", 6);
  let batches = 0;
  while (singles.some(({ state }) => state !== "COMPLETED")) {
    batches += 1;
    assert.ok(batches <= 12, "they wait behind every batch");
    answer(rig, connected, "batched", 16);
    answer(rig, connected, "single", 1);
  }
});

test("a batching model takes no credit from another one that the worker runs alone", () => {
  const rig = new SchedulerRig();
  const connected = rig.connect("a");
  submit(rig, "batched", 17);
  grow(rig, connected, "batched", 16);
  submit(rig, "batched", 16);
  const { worker } = connected;
  assert.equal(heldOf(connected, "batched"), 16);
  submit(rig, "single", 20);
  // A batch of 16 is one run.
  assert.ok(heldOf(connected, "single") >= worker.credit - 2);
  assert.ok(heldOf(connected, "single") <= worker.credit);
});

test("when tasks stop to fit together the worker is given less again", () => {
  const rig = new SchedulerRig();
  const connected = rig.connect("a");
  submit(rig, "batched", 2000);
  grow(rig, connected, "batched", 16);
  for (let i = 0; i < 400; i += 1) answer(rig, connected, "batched", 1);
  assert.ok(heldOf(connected, "batched") <= connected.worker.credit + 1);
});

test("what a worker holds counts as nothing when it holds nothing", () => {
  const rig = new SchedulerRig();
  const connected = rig.connect("a");
  submit(rig, "batched", 30);
  for (let i = 0; i < 40; i += 1) answer(rig, connected, "batched", 3);
  assert.equal(connected.worker.inFlight, 0);
  assert.equal(connected.worker.load, 0);
});

test("tasks that ran as one are charged that run together, not each", () => {
  const rig = new SchedulerRig();
  const connected = rig.connect("a");
  const tasks = submit(rig, "batched", 2);
  answer(rig, connected, "batched", 2);
  assert.deepEqual(tasks.map(executionMs), [2.5, 2.5]);
});

test("small tasks that go to one worker at the same moment share a frame", () => {
  const session = new Session({
    sessionId: "session",
    keyId: "key",
    socket: { remoteAddress: "", bufferedBytes: 0, wake() {}, ping() {}, close() {} },
    events: { hello() {}, message() {}, idle() {}, pong() {}, unknownMessages() {}, closed() {} },
    clock: new ManualClock(),
  });
  const frames: Uint8Array[] = [];
  const flush = () =>
    session.flush((frame) => {
      frames.push(frame);
      return "sent";
    });
  session.message(encodeValue([hello("a")]));
  flush();
  frames.length = 0;
  const input = { kind: "tensors" as const, tensors: [floats("input", [1, 16], 1)] };
  for (let token = 1; token <= 64; token += 1)
    session.send({ type: "task", taskId: `t${token}`, token, model: { name: "m", version: "1" }, input });
  flush();
  assert.equal(frames.length, 1);
  const { messages } = gatewayFrames.decode(frames[0] as Uint8Array);
  assert.equal(messages.filter(({ type }) => type === "task").length, 64);
  session.closed(1000, "");
});
