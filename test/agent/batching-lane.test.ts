/** Batches as the supervisor sees them, on a virtual clock: who is to blame, who runs again, and who is killed for whom. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { RunnerCommand } from "../../agent/runner/wire.ts";
import { DIED, FakeProcess, JobSpy, settled, supervise } from "./supervisor-rig.ts";

const MAX_SIZE = 8;
type Run = Extract<RunnerCommand, { type: "run" }>;

/** Runs what it is told to run, as a runner that batches tells of it. */
class BatchingProcess extends FakeProcess {
  get runs(): Run[] {
    return this.commands.filter((command) => command.type === "run");
  }
  get skipped(): number[] {
    return this.commands.flatMap((command) => (command.type === "skip" ? [command.seq] : []));
  }
  get maxRows(): number | undefined {
    const load = this.commands.find((command) => command.type === "load");
    return load?.type === "load" ? load.maxRows : undefined;
  }

  /** Says that it is ready and has loaded what it was asked to load. */
  getReady(): void {
    this.ready();
    this.answerLoads();
  }
  answerLoads(): void {
    for (const command of this.commands)
      if (command.type === "load")
        this.handlers.onReport({
          type: "loaded",
          seq: command.seq,
          provider: "cpu",
          passedOver: [],
          loadMs: 7,
        });
  }
  begin(...seqs: (number | undefined)[]): void {
    this.handlers.onReport({ type: "batch", seqs: seqs as number[], rows: seqs.length });
  }
  answer(seq: number | undefined, batchSize?: number): void {
    this.handlers.onReport({
      type: "done",
      seq: seq as number,
      output: { kind: "output", tensors: [] },
      timings: { preprocessMs: 0, executeMs: 16, postprocessMs: 0, batchSize },
      provider: "cpu",
    });
  }
  limit(maxRows: number): void {
    this.handlers.onReport({ type: "batch_limit", modelKey: "m", maxRows, reason: "told to" });
  }
}

function rig() {
  const supervised = supervise((handlers) => new BatchingProcess(handlers), { executionLimitMs: 1000 });
  const { supervisor, last } = supervised;
  const submit = (executionLimitMs?: number, key = "m") => {
    const manifest = key === "single" ? {} : { batching: { max_size: MAX_SIZE, max_delay_ms: 0 } };
    const job = new JobSpy(key, manifest, executionLimitMs);
    return { job, heard: job.heard, ticket: supervisor.submit(job) };
  };
  /** So many tasks with a process that is ready. */
  const ready = (count: number, limitsMs: readonly number[] = []) => {
    last().getReady();
    const jobs = Array.from({ length: count }, (_, i) => submit(limitsMs[i]));
    last().answerLoads();
    const seqs = last().runs.map(({ seq }) => seq);
    return { jobs, seqs };
  };
  return { ...supervised, submit, ready };
}

test("enough is handed ahead for the batch that runs and the next one, of other models no more than before", () => {
  const batched = rig();
  batched.ready(50);
  assert.equal(batched.last().runs.length, 2 * MAX_SIZE);

  const single = rig();
  single.last().getReady();
  for (let i = 0; i < 50; i += 1) single.submit(undefined, "single");
  assert.equal(single.last().runs.length, 2);
});

test("tasks of a batch start together, whatever lies between them, and end with their answers", () => {
  const { last, ready, clock } = rig();
  const { jobs, seqs } = ready(4);
  clock.advance(10);
  last().begin(seqs[0], seqs[2], seqs[3]);
  assert.deepEqual(
    jobs.map(({ heard }) => heard),
    [["started"], [], ["started"], ["started"]],
  );
  for (const index of [0, 2, 3]) last().answer(seqs[index], 3);
  last().answer(seqs[1]);
  assert.ok(jobs.every(({ heard }) => heard.at(-1) === "done"));
  assert.deepEqual(
    jobs.map(({ job }) => [job.result?.timings.batchSize, job.result?.timings.queuedMs]),
    [
      [3, 3],
      [undefined, 3],
      [3, 3],
      [3, 3],
    ],
  );
});

test("a process that dies with a batch makes suspects of all: each runs alone, and the one that kills again is blamed", async () => {
  const { last, ready, submit, processes } = rig();
  const { jobs, seqs } = ready(3);
  last().begin(...seqs);
  last().die();
  await settled();
  assert.deepEqual(
    jobs.map(({ heard }) => heard),
    [["started"], ["started"], ["started"]],
  );
  const behind = submit();
  const runAlone = () => {
    assert.equal(last().runs.filter(({ seq }) => !answered.has(seq)).length, 1);
    return last().runs.at(-1)?.seq;
  };
  const answered = new Set<number | undefined>();
  const answerNext = () => {
    const seq = runAlone();
    answered.add(seq);
    last().answer(seq);
  };
  last().getReady();
  assert.equal(last().maxRows, 1, "it may have been too large");
  answerNext();
  runAlone();
  last().die();
  await settled();
  last().getReady();
  assert.equal(last().maxRows, undefined, "it was not");
  answerNext();
  answerNext();
  assert.deepEqual(
    [...jobs, behind].map(({ heard }) => heard),
    [
      ["started", "done"],
      ["started", "runner_crashed"],
      ["started", "done"],
      ["started", "done"],
    ],
  );
  assert.equal(processes.length, 3);
});

test("a batch may take as long as its most patient task; past that nobody is blamed, and each runs alone", async () => {
  const { last, ready, clock } = rig();
  const { jobs, seqs } = ready(3, [300, 800, 500]);
  last().begin(...seqs);
  clock.advance(799);
  await settled();
  assert.ok(last().isAlive);
  clock.advance(1);
  await settled();
  assert.deepEqual(
    jobs.map(({ heard }) => heard),
    [["started"], ["started"], ["started"]],
  );
  last().getReady();
  const runs = last().runs;
  assert.equal(runs.length, 1);
  clock.advance(300);
  await settled();
  assert.deepEqual(jobs[0]?.heard, ["started", "execution_timeout"]);
});

test("a task whose deadline passes inside a batch is not waited for; its neighbours are", async () => {
  const { last, ready, supervisor, clock, processes } = rig();
  const { jobs, seqs } = ready(3);
  last().begin(...seqs);
  assert.ok(jobs[0] && jobs[1] && jobs[2]);
  supervisor.stop(jobs[1].ticket, 0);
  await settled();
  assert.equal(processes.length, 1);
  assert.deepEqual(last().skipped, [seqs[1]], "should the batch fail, it is not run again");
  clock.advance(600);
  for (const seq of seqs) last().answer(seq, 3);
  assert.deepEqual(
    jobs.map(({ heard }) => heard),
    [["started", "done"], ["started"], ["started", "done"]],
  );
});

test("a batch that nobody waits for any more is killed", async () => {
  const { last, ready, supervisor, submit, clock, processes } = rig();
  const { jobs, seqs } = ready(2);
  const behind = submit();
  last().begin(...seqs);
  for (const { ticket } of jobs) supervisor.stop(ticket, 1000);
  clock.advance(999);
  await settled();
  assert.equal(processes.length, 1);
  clock.advance(1);
  await settled();
  assert.equal(processes.length, 2);
  last().getReady();
  last().answer(last().runs[0]?.seq);
  assert.deepEqual(behind.heard, ["started", "done"]);
  assert.deepEqual(
    jobs.map(({ heard }) => heard),
    [["started"], ["started"]],
  );
});

test("when a batch fails each task of it has its own time and its own blame again", async () => {
  const { last, ready, clock } = rig();
  const { jobs, seqs } = ready(3, [300, 400, 500]);
  last().begin(...seqs);
  clock.advance(200);
  last().begin(seqs[0]);
  clock.advance(299);
  last().answer(seqs[0]);
  clock.advance(399);
  await settled();
  assert.ok(last().isAlive);
  clock.advance(1);
  await settled();
  assert.deepEqual(
    jobs.map(({ heard }) => heard),
    [["started", "done"], ["started", "execution_timeout"], ["started"]],
  );
});

test("a batch that ended its process was too large, unless one of its tasks does that alone", async () => {
  const { last, ready, lines } = rig();
  const { seqs } = ready(6);
  last().begin(...seqs);
  last().die({ ...DIED, isOutOfMemory: true });
  await settled();
  for (let i = 0; i < 6; i += 1) {
    if (i === 0) last().getReady();
    last().answer(last().runs.at(-1)?.seq);
  }
  assert.equal(last().maxRows, 3);
  assert.match(lines.join(), /a model is run in smaller batches/);
});

test("a model that cannot be batched is handed out like any other from then on, also to the next process", async () => {
  const { last, ready, submit, lines } = rig();
  const { seqs } = ready(1);
  last().limit(1);
  last().answer(seqs[0]);
  for (let i = 0; i < 20; i += 1) submit();
  assert.equal(last().runs.length - seqs.length, 2);
  assert.match(lines.join(), /a model is not run in batches any more/);
  last().die();
  await settled();
  assert.equal(last().maxRows, 1);
});

test("a batch of tasks that are not there, or without the oldest, is an answer out of order", async () => {
  for (const wrongly of [(seqs: number[]) => [seqs[0], 1000], (seqs: number[]) => seqs.slice(1)]) {
    const { last, ready, processes } = rig();
    const { seqs } = ready(3);
    last().begin(...wrongly(seqs));
    await settled();
    assert.equal(processes.length, 2);
  }
});
