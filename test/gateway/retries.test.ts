import assert from "node:assert/strict";
import { test } from "node:test";
import { type ErrorCode, fail, toWireError } from "@legacygpu/shared/errors";
import type { Hello, Worker } from "../../gateway/registry/worker.ts";
import { NO_OUTPUT, type RecordingLink, SchedulerRig, timings } from "../support/scheduler-rig.ts";

interface Box {
  readonly worker: Worker;
  readonly link: RecordingLink;
}

/** The worker's latest task fails. */
function failLatest(rig: SchedulerRig, { worker, link }: Box, code: ErrorCode, message?: string): void {
  rig.scheduler.failed(worker, link.tasks.at(-1)?.token ?? 0, toWireError(fail(code, message)));
}

const withMemory = (memoryBytes: number): Partial<Hello> => ({
  hardware: { cpu: { model: "test", cores: 1 }, memoryBytes, platform: "test", gpus: [] },
});

test("waits before retries double, and are drawn at random below that bound", () => {
  const rig = new SchedulerRig();
  rig.random = 0.999;
  const box = rig.connect("a");
  const task = rig.submit({ backoffMs: 1000, maxAttempts: 10 });
  failLatest(rig, box, "transfer_failed");
  assert.match(rig.scheduler.view.explain(task.id)?.reason ?? "", /It is tried again in 1\.0 s/);
  rig.clock.advance(998);
  assert.equal(box.link.tasks.length, 1);
  rig.clock.advance(2);
  assert.equal(box.link.tasks.length, 2);
  failLatest(rig, box, "transfer_failed");
  rig.clock.advance(1900);
  assert.equal(box.link.tasks.length, 2);
  rig.clock.advance(100);
  assert.equal(box.link.tasks.length, 3);
  rig.random = 0;
  failLatest(rig, box, "transfer_failed");
  rig.clock.advance(0);
  assert.equal(box.link.tasks.length, 4);
});

test("a task that killed two runners is a dead letter with both causes", () => {
  const rig = new SchedulerRig();
  const a = rig.connect("a");
  const task = rig.submit({ maxAttempts: 10 });
  failLatest(rig, a, "runner_crashed", "signal SIGSEGV");
  const b = rig.connect("b");
  rig.clock.advance(0);
  failLatest(rig, b, "runner_crashed", "exit code 134");
  assert.equal(task.state, "FAILED");
  assert.equal(task.isDeadLetter, true);
  assert.equal(task.error?.code, "task_poisonous");
  assert.deepEqual(task.error?.details?.causes, ["on a: signal SIGSEGV", "on b: exit code 134"]);
});

test("out of memory goes to a worker with more of it, even when a smaller one is free", () => {
  const rig = new SchedulerRig();
  const middle = rig.connect("middle", withMemory(8e9));
  const task = rig.submit();
  const small = rig.connect("small", withMemory(4e9));
  const large = rig.connect("large", withMemory(16e9));
  failLatest(rig, middle, "out_of_memory");
  rig.clock.advance(0);
  assert.equal(small.link.tasks.length, 0);
  assert.equal(large.link.tasks[0]?.taskId, task.id);
});

test("causes that the owner did not ask to retry end the task", () => {
  const rig = new SchedulerRig();
  const box = rig.connect("a");
  const task = rig.submit({ retryOn: ["worker_lost"] });
  failLatest(rig, box, "transfer_failed");
  assert.equal(task.state, "FAILED");
  assert.equal(task.error?.retryable, false);
});

test("a worker that cannot take a task costs the task nothing", () => {
  const rig = new SchedulerRig();
  const box = rig.connect("a");
  const task = rig.submit({ maxAttempts: 1, backoffMs: 60_000 });
  rig.registry.drain(box.worker, "maintenance");
  failLatest(rig, box, "worker_draining");
  const other = rig.connect("b");
  assert.equal(other.link.tasks[0]?.taskId, task.id);
});

test("when everything fails, retries become a trickle", () => {
  const rig = new SchedulerRig();
  rig.random = 0;
  // So many that none of them fails often enough to be spared.
  const boxes = Array.from({ length: 150 }, (_, i) => rig.connect(`box-${i}`, { slots: 4 }));
  const sent = (): number => boxes.reduce((sum, { link }) => sum + link.tasks.length, 0);
  for (let i = 0; i < 150; i += 1) rig.submit({ maxAttempts: 20 });
  for (const box of boxes)
    for (const { token } of [...box.link.tasks])
      rig.scheduler.failed(box.worker, token, toWireError(fail("transfer_failed")));
  rig.clock.advance(100);
  assert.equal(sent(), 150 + 100, "what was saved up is spent");
  rig.clock.advance(10_000);
  assert.ok(sent() > 250 && sent() <= 250 + 11, `then about one a second, not ${sent() - 250} in ten`);
});

test("a worker that keeps failing is spared, then proves itself with copies that nobody waits for", () => {
  const rig = new SchedulerRig();
  const box = rig.connect("a", { releases: true });
  for (let i = 0; i < 3; i += 1) {
    rig.submit({ maxAttempts: 1 });
    failLatest(rig, box, "internal", "signal SIGILL");
  }
  assert.equal(box.worker.state, "DEGRADED");
  assert.match(box.worker.cause, /tried again after 2\.0 s; the last: signal SIGILL/);
  const other = rig.connect("c");
  const answer = ({ worker, link }: Box): void =>
    rig.scheduler.completed(worker, link.tasks.at(-1)?.token ?? 0, NO_OUTPUT, timings(1));
  const before = box.link.tasks.length;
  rig.submit();
  answer(other);
  assert.equal(box.link.tasks.length, before, "only the healthy one is used");
  rig.clock.advance(3000);
  for (let proof = 1; proof <= 3; proof += 1) {
    assert.equal(box.worker.state, "DEGRADED");
    const task = rig.submit();
    assert.equal(box.link.tasks.length, before + proof);
    answer(other);
    assert.equal(task.state, "COMPLETED", "the client has the other's answer");
    rig.scheduler.released(box.worker, box.link.tasks.at(-1)?.token ?? 0, timings(1));
  }
  assert.equal(box.worker.state, "HEALTHY");
});

test("a worker that is spared is asked all the same when there is no other", () => {
  const rig = new SchedulerRig();
  const box = rig.connect("a");
  for (let i = 0; i < 3; i += 1) {
    rig.submit({ maxAttempts: 1 });
    failLatest(rig, box, "internal");
  }
  assert.equal(box.worker.state, "DEGRADED");
  const task = rig.submit();
  assert.equal(box.link.tasks.at(-1)?.taskId, task.id);
  rig.submit();
  assert.equal(box.link.tasks.at(-1)?.taskId, task.id, "one at a time");
});

test("when every worker is spared they are used all the same", () => {
  const rig = new SchedulerRig();
  const box = rig.connect("a");
  for (let i = 0; i < 5; i += 1) {
    rig.submit({ maxAttempts: 1 });
    failLatest(rig, box, "internal");
  }
  assert.equal(box.worker.state, "DEGRADED");
  const before = box.link.tasks.length;
  rig.submit();
  assert.equal(box.link.tasks.length, before + 1);
});

test("tasks go only where their placement lets them, and do not hold up others", () => {
  const rig = new SchedulerRig();
  const lab = rig.connect("a", { site: "lab", labels: { tier: "old" } });
  const elsewhere = rig.submit({ placement: { sites: ["home"] } });
  const labelled = rig.submit({ placement: { labels: { tier: "old" }, providers: ["cpu"] } });
  assert.deepEqual(
    lab.link.tasks.map(({ taskId }) => taskId),
    [labelled.id],
  );
  assert.match(
    rig.scheduler.view.explain(elsewhere.id)?.reason ?? "",
    /No connected worker is at site home; they are at lab\./,
  );
  const home = rig.connect("b", { site: "home" });
  assert.equal(home.link.tasks[0]?.taskId, elsewhere.id);
});

test("a paused model waits, the others go on", () => {
  const rig = new SchedulerRig();
  rig.scheduler.groups.pause("m", true);
  const held = rig.submit();
  const other = rig.submit({ model: "n" });
  const { worker, link } = rig.connect("a");
  assert.deepEqual(
    link.tasks.map(({ taskId }) => taskId),
    [other.id],
  );
  rig.scheduler.completed(worker, link.tasks[0]?.token ?? 0, NO_OUTPUT, timings(1));
  assert.match(rig.scheduler.view.explain(held.id)?.reason ?? "", /The queue of m is paused/);
  rig.scheduler.groups.pause("m", false);
  rig.scheduler.dispatch();
  assert.equal(link.tasks.at(-1)?.taskId, held.id);
});

test("a worker that comes back has its work again while nobody else has begun it", () => {
  const rig = new SchedulerRig();
  const { worker, link } = rig.connect("a");
  const task = rig.submit();
  const token = link.tasks[0]?.token ?? 0;
  rig.scheduler.accepted(worker, token);
  rig.registry.linkLost(worker, "cut");
  rig.clock.advance(10_000);
  assert.equal(task.state, "PENDING");
  const held = [{ taskId: task.id, token }];
  const back = rig.greet("a", { held, instanceId: "a-2" });
  assert.deepEqual(back.keep, [token]);
  assert.equal(task.state, "RUNNING");
  assert.equal(back.link.tasks.length, 0);
  rig.scheduler.completed(back.worker, token, NO_OUTPUT, timings(1));
  assert.equal(task.state, "COMPLETED");
  assert.equal(task.attempts.length, 1);
});

test("when all links of a site break, its work waits for the line; when one of several does, it goes elsewhere", () => {
  const rig = new SchedulerRig();
  const first = rig.connect("a1", { site: "a" });
  const second = rig.connect("a2", { site: "a" });
  for (let i = 0; i < 2; i += 1) rig.submit();
  const other = rig.connect("b", { site: "b", slots: 8 });
  rig.registry.linkLost(first.worker, "cut");
  rig.clock.advance(100);
  rig.registry.linkLost(second.worker, "cut");
  rig.clock.advance(10_000);
  assert.equal(other.link.tasks.length, 0);
  assert.match(second.worker.cause, /the links of the whole site broke/);
  const held = first.link.tasks.map(({ taskId, token }) => ({ taskId, token }));
  assert.equal(rig.greet("a1", { site: "a", held }).keep.length, held.length);
  rig.clock.advance(5000);
  assert.equal(second.worker.state, "GONE");
  assert.equal(other.link.tasks.length, second.link.tasks.length);
  rig.registry.linkLost(other.worker, "cut");
  rig.clock.advance(1000);
  assert.equal(other.worker.state, "GONE", "one alone has rather died");
});

for (const code of ["model_run_failed", "runner_crashed", "out_of_memory"] as const) {
  test(`after ${code} a task is tried elsewhere; where it failed is to blame when another worker can do it`, () => {
    const rig = new SchedulerRig();
    const gray = rig.connect("gray");
    rig.connect("sound");
    const sound = { worker: rig.registry.get("sound") as Worker };
    for (let i = 0; i < 3; i += 1) {
      rig.registry.drain(sound.worker, "for now");
      const task = rig.submit();
      sound.worker.state = "HEALTHY";
      rig.scheduler.dispatching.stateChanged(sound.worker);
      failLatest(rig, gray, code, "the card has fallen off the bus");
      rig.clock.advance(0);
      const attempt = task.attempts.at(-1);
      assert.equal(attempt?.workerId, "sound");
      rig.scheduler.completed(sound.worker, attempt?.token ?? 0, NO_OUTPUT, timings(1));
      assert.equal(task.state, "COMPLETED");
    }
    assert.equal(gray.worker.state, "DEGRADED");
    assert.match(gray.worker.cause, /the card has fallen off the bus/);
  });

  test(`a task that ends with ${code} wherever it runs takes no worker out of service`, () => {
    const rig = new SchedulerRig();
    const boxes = ["a", "b", "c", "d"].map((id) => rig.connect(id));
    for (let i = 0; i < 8; i += 1) {
      const task = rig.submit({ maxAttempts: 4 });
      while (task.state === "PENDING" || task.state === "RUNNING") {
        const attempt = task.attempts.at(-1);
        const box = boxes.find(({ worker }) => worker.id === attempt?.workerId);
        if (box !== undefined && attempt?.outcome === undefined) failLatest(rig, box, code, "poison");
        rig.clock.advance(1000);
      }
      assert.equal(task.state, "FAILED");
    }
    assert.deepEqual(
      boxes.map(({ worker }) => worker.state),
      ["HEALTHY", "HEALTHY", "HEALTHY", "HEALTHY"],
    );
  });
}

test("a model that fails on two workers is at fault, or its input is: nobody is blamed and no more are asked", () => {
  const rig = new SchedulerRig();
  const boxes = ["a", "b", "c"].map((id) => rig.connect(id));
  const task = rig.submit({ maxAttempts: 10 });
  for (let i = 0; i < 2; i += 1) {
    const attempt = task.attempts.at(-1);
    const box = boxes.find(({ worker }) => worker.id === attempt?.workerId);
    assert.ok(box !== undefined);
    failLatest(rig, box, "model_run_failed", "shapes do not fit");
    rig.clock.advance(0);
  }
  assert.deepEqual([task.state, task.error?.code, task.isDeadLetter], ["FAILED", "model_run_failed", false]);
  assert.deepEqual(
    boxes.map(({ worker }) => worker.state),
    ["HEALTHY", "HEALTHY", "HEALTHY"],
  );
});
