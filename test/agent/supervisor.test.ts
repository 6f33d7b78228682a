/** What the runner's supervisor does as its processes load, answer, hang and die. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fail, toWireError } from "@legacygpu/shared/errors";
import type { SupervisorOptions } from "../../agent/runner/supervisor.ts";
import { DIED, FakeProcess, JobSpy, settled, supervise } from "./supervisor-rig.ts";

/** Answers its commands one by one. */
class OrderlyProcess extends FakeProcess {
  /** Answers the oldest command that has none. @param executeMs how long the run took. */
  answer(executeMs = 0.01): void {
    const command = this.commands.shift();
    if (command === undefined || command.type === "unload" || command.type === "skip") return;
    const { seq } = command;
    if (command.type === "load")
      this.handlers.onReport({ type: "loaded", seq, provider: "cpu", passedOver: [], loadMs: 7 });
    else
      this.handlers.onReport({
        type: "done",
        seq,
        output: { kind: "output", tensors: [] },
        timings: { preprocessMs: 0, executeMs, postprocessMs: 0 },
        provider: "cpu",
      });
  }
}

function rig(more: Partial<SupervisorOptions> = {}) {
  const supervised = supervise((handlers) => new OrderlyProcess(handlers), more);
  const submit = (modelKey = "m", executionLimitMs?: number) => {
    const job = new JobSpy(modelKey, {}, executionLimitMs);
    return { heard: job.heard, ticket: supervised.supervisor.submit(job) };
  };
  return { ...supervised, submit };
}

describe("the supervisor", () => {
  test("loads a model once, before its first task, and reports each start and end", () => {
    const { submit, last, models } = rig();
    last().ready();
    const [first, second] = [submit(), submit()];
    assert.deepEqual(
      last().commands.map(({ type }) => type),
      ["load", "run", "run"],
    );
    assert.deepEqual(first.heard, []);
    last().answer();
    assert.deepEqual(
      models.map(({ state }) => state),
      ["loading", "ready"],
    );
    assert.deepEqual(first.heard, ["started"]);
    last().answer();
    assert.deepEqual([first.heard, second.heard], [["started", "done"], ["started"]]);
  });

  test("hands out little ahead of slow tasks and more ahead of quick ones", () => {
    const { submit, last } = rig();
    last().ready();
    const runs = (): number => last().commands.filter(({ type }) => type === "run").length;
    for (let i = 0; i < 200; i += 1) submit();
    assert.equal(runs(), 2);
    for (let i = 0; i < 50; i += 1) last().answer();
    assert.equal(runs(), 64);
    for (let i = 0; i < 64; i += 1) last().answer(500);
    assert.equal(runs(), 2);
  });

  test("a dead process costs the task that it computed; the others run again, one at a time at first", async () => {
    const { submit, last, processes } = rig();
    last().ready();
    const warm = submit();
    for (let i = 0; i < 2; i += 1) last().answer();
    assert.deepEqual(warm.heard, ["started", "done"]);
    const [suspect, second, third] = [submit(), submit(), submit()];
    last().die();
    await settled();
    assert.deepEqual(suspect.heard, ["started", "runner_crashed"]);
    assert.equal(processes.length, 2);
    last().ready();
    assert.equal(last().commands.filter(({ type }) => type === "run").length, 1);
    for (let i = 0; i < 3; i += 1) last().answer();
    assert.deepEqual(second.heard, ["started", "done"]);
    assert.deepEqual(third.heard, ["started", "done"]);
  });

  test("memory is named as the cause when it was", async () => {
    const { submit, last } = rig();
    last().ready();
    const job = submit();
    last().answer();
    last().die({ ...DIED, isOutOfMemory: true });
    await settled();
    assert.deepEqual(job.heard, ["started", "out_of_memory"]);
  });

  test("a process that dies while it loads a model is the model's fault", async () => {
    const { submit, last, models } = rig();
    last().ready();
    const [bad, good] = [submit("bad"), submit("good")];
    last().die();
    await settled();
    assert.deepEqual(bad.heard, ["model_load_failed"]);
    assert.equal(models.at(-1)?.state === "loading" ? models.at(-2)?.state : models.at(-1)?.state, "failed");
    last().ready();
    for (let i = 0; i < 2; i += 1) last().answer();
    assert.deepEqual(good.heard, ["started", "done"]);
  });

  test("a run past the limit is killed; what was behind it runs on a new process", async () => {
    const { submit, last, clock } = rig({ executionLimitMs: 1000 });
    last().ready();
    const warm = submit();
    last().answer();
    last().answer();
    const [endless, behind] = [submit(), submit()];
    clock.advance(999);
    assert.deepEqual(endless.heard, ["started"]);
    clock.advance(1);
    await settled();
    assert.deepEqual(endless.heard, ["started", "execution_timeout"]);
    last().ready();
    for (let i = 0; i < 2; i += 1) last().answer();
    assert.deepEqual(behind.heard.at(-1), "done");
    assert.deepEqual(warm.heard.at(-1), "done");
  });

  test("a task's own limit holds when it is the lower one, and for that task only", async () => {
    const { submit, last, clock } = rig({ executionLimitMs: 1000 });
    last().ready();
    submit();
    last().answer();
    last().answer();
    const [patient, hasty] = [submit("m", 5000), submit("m", 300)];
    clock.advance(999);
    assert.deepEqual(patient.heard, ["started"]);
    clock.advance(1);
    await settled();
    assert.deepEqual(patient.heard, ["started", "execution_timeout"]);
    last().ready();
    last().answer();
    clock.advance(299);
    assert.deepEqual(hasty.heard, ["started"]);
    clock.advance(1);
    await settled();
    assert.deepEqual(hasty.heard, ["started", "execution_timeout"]);
  });

  test("the limit counts each run by itself", () => {
    const { submit, last, clock } = rig({ executionLimitMs: 1000 });
    last().ready();
    const jobs = Array.from({ length: 5 }, () => submit());
    last().answer();
    for (let i = 0; i < 5; i += 1) {
      clock.advance(900);
      last().answer();
    }
    assert.ok(jobs.every(({ heard }) => heard.at(-1) === "done"));
  });

  test("stop: a waiting job is removed, a handed one is skipped, a running one is killed after its grace", async () => {
    const { submit, last, clock, supervisor, processes } = rig();
    last().ready();
    const jobs = Array.from({ length: 6 }, () => submit());
    last().answer();
    last().answer();
    const [, running, handed, , , waiting] = jobs;
    assert.ok(running && handed && waiting);
    supervisor.stop(waiting.ticket, 1000);
    supervisor.stop(handed.ticket, 1000);
    assert.equal(last().commands.at(-1)?.type, "skip");
    supervisor.stop(running.ticket, 1000);
    clock.advance(999);
    assert.equal(processes.length, 1);
    clock.advance(1);
    await settled();
    assert.equal(processes.length, 2);
    assert.deepEqual([running.heard, handed.heard, waiting.heard], [["started"], [], []]);
  });

  test("stop: a handed job that had begun before it could be skipped is killed; what is behind it runs", async () => {
    const { submit, last, clock, supervisor, processes } = rig();
    last().ready();
    const [first, begun, behind] = [submit(), submit(), submit()];
    last().answer();
    supervisor.stop(begun.ticket, 0);
    assert.equal(last().commands.at(-1)?.type, "skip");
    last().answer();
    assert.deepEqual(first.heard, ["started", "done"]);
    // The process computes it all the same, and says nothing.
    clock.advance(500);
    await settled();
    assert.equal(processes.length, 2);
    last().ready();
    for (let i = 0; i < 2; i += 1) last().answer();
    assert.deepEqual([begun.heard, behind.heard], [[], ["started", "done"]]);
  });

  test("a cancelled job that ends within its grace costs nobody anything", async () => {
    const { submit, last, clock, supervisor, processes } = rig();
    last().ready();
    const job = submit();
    last().answer();
    supervisor.stop(job.ticket, 1000);
    last().answer();
    clock.advance(2000);
    await settled();
    assert.equal(processes.length, 1);
    assert.deepEqual(job.heard, ["started"]);
  });

  test("a process that never gets ready is started again more and more slowly, and jobs are told after five times", async () => {
    const { submit, last, clock, processes } = rig();
    const job = submit();
    for (const delayMs of [100, 200, 400, 800]) {
      last().die();
      await settled();
      const before = processes.length;
      clock.advance(delayMs - 1);
      assert.equal(processes.length, before);
      clock.advance(1);
      assert.equal(processes.length, before + 1);
    }
    assert.deepEqual(job.heard, []);
    last().die();
    await settled();
    assert.deepEqual(job.heard, ["runner_crashed"]);
  });

  test("a failed load is told, and tried again for the next task", () => {
    const { submit, last, models } = rig();
    last().ready();
    const job = submit();
    const [load, run] = last().commands.splice(0);
    assert.ok(load?.type === "load" && run?.type === "run");
    const error = toWireError(fail("model_load_failed", "no"));
    last().handlers.onReport({ type: "failed", seq: load.seq, error });
    last().handlers.onReport({ type: "failed", seq: run.seq, error });
    assert.deepEqual(job.heard.at(-1), "model_load_failed");
    assert.equal(models.at(-1)?.state, "failed");
    submit();
    assert.deepEqual(
      last().commands.map(({ type }) => type),
      ["load", "run"],
    );
  });

  test("several slots are several processes, which share the cores and the queue", () => {
    const { submit, processes } = rig({ slots: 2 });
    for (const process of processes) process.ready();
    submit();
    submit();
    const [first, second] = processes;
    assert.deepEqual(
      first?.commands.map(({ type }) => type),
      ["load", "run"],
    );
    assert.deepEqual(
      second?.commands.map(({ type }) => type),
      ["load", "run"],
    );
    assert.equal(first?.commands[0]?.type === "load" && first.commands[0].threads, 4);
  });
});
