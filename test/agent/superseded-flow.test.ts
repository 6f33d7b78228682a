/** Superseded attempts in the agent, step by step: with a runner, a link and a disk that a test plays. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createLogger } from "@legacygpu/shared/log";
import type { AgentMessage } from "@legacygpu/shared/protocol/messages";
import type { Job, Ticket } from "../../agent/runner/job.ts";
import { type Task, TaskFlow } from "../../agent/tasks/task-flow.ts";
import { floats } from "../support/fake-gateway.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { FakeProcess, JobSpy, supervise } from "./supervisor-rig.ts";

const TIMINGS = { queuedMs: 0, loadMs: 0, preprocessMs: 0, executeMs: 1, postprocessMs: 0 };

class Rig {
  readonly clock = new ManualClock();
  readonly sent: AgentMessage[] = [];
  readonly stopped: { readonly token: number; readonly graceMs: number }[] = [];
  readonly uploads: AbortSignal[] = [];
  readonly tickets = new Map<number, Ticket>();
  isLinked = true;
  #taking = 0;
  readonly flow = new TaskFlow({
    clock: this.clock,
    log: createLogger("test", "silent"),
    runner: {
      submit: (job) => this.#submit(job),
      stop: (ticket, graceMs) => {
        const found = [...this.tickets].find(([, known]) => known === ticket);
        this.stopped.push({ token: found?.[0] ?? 0, graceMs });
      },
    },
    models: { acquire: () => ({ key: "m", path: "/m.onnx", manifest: {} }) },
    transfers: {
      fetchInput: () => Promise.reject(new Error("not in these tests")),
      storeOutput: (_attempt, _body, signal) => {
        this.uploads.push(signal);
        return new Promise(() => {});
      },
    },
    spool: {
      all: () => [],
      put: () => Promise.reject(new Error("not in these tests")),
      read: () => Promise.resolve(undefined),
      remove: () => {},
      close: () => Promise.resolve(),
    },
    send: (message) => {
      if (this.isLinked) this.sent.push(message);
      return this.isLinked;
    },
  });

  constructor() {
    this.flow.resume([], []);
  }

  take(token: number, state: Ticket["state"]): Job {
    this.#taking = token;
    const input: Task["input"] = { kind: "tensors", tensors: [] };
    this.flow.take({
      type: "task",
      taskId: `task-${token}`,
      token,
      model: { name: "m", version: "1" },
      input,
    });
    const ticket = this.tickets.get(token) as Ticket;
    ticket.state = state;
    if (state === "running") ticket.job.onStarted();
    return ticket.job;
  }

  supersede(token: number): void {
    this.flow.supersede({ taskId: `task-${token}`, token }, "test");
  }

  #submit(job: Job): Ticket {
    const ticket: Ticket = {
      job,
      submittedAt: 0,
      state: "waiting",
      hasStarted: false,
      isSuspect: false,
      startedAt: 0,
      loadMs: 0,
      concurrency: 1,
      mayFinish: false,
    };
    this.tickets.set(this.#taking, ticket);
    return ticket;
  }
}

const done = (job: Job, values = 1): void =>
  job.onDone({
    output: { kind: "output", tensors: [floats("output", [values], 1)] },
    provider: "cpu",
    timings: TIMINGS,
  });
const released = (token: number, timings?: object) => ({
  type: "released",
  taskId: `task-${token}`,
  token,
  timings,
});
const REPORTED = { ...TIMINGS, fetchMs: 0, batchSize: undefined, concurrency: undefined };

describe("a superseded attempt", () => {
  test("that runs is not stopped; when it is done, its timings are told and nothing else", () => {
    const rig = new Rig();
    const job = rig.take(1, "running");
    rig.supersede(1);
    assert.deepEqual([rig.sent, rig.stopped, rig.flow.held()], [[], [], []]);
    rig.clock.advance(100);
    done(job);
    assert.deepEqual(rig.sent, [released(1, REPORTED)]);
    assert.equal(rig.flow.heldCount, 0);
  });

  test("that waits at the runner is withdrawn for ever, and told of at once", () => {
    const rig = new Rig();
    for (const [token, state] of [
      [1, "waiting"],
      [2, "handed"],
    ] as const) {
      rig.take(token, state);
      rig.supersede(token);
    }
    assert.deepEqual(rig.sent, [released(1), released(2)]);
    assert.deepEqual(
      rig.stopped.map(({ token, graceMs }) => [token, graceMs]),
      [
        [1, Number.POSITIVE_INFINITY],
        [2, Number.POSITIVE_INFINITY],
      ],
    );
  });

  test("that a runner has given back is dropped: it would run again for nobody", () => {
    const rig = new Rig();
    rig.take(1, "running");
    (rig.tickets.get(1) as Ticket).state = "waiting";
    rig.supersede(1);
    assert.deepEqual(rig.sent, [released(1)]);
    assert.equal(rig.stopped.length, 1);
  });

  test("whose output is on its way is given up, with its timings", () => {
    const rig = new Rig();
    done(rig.take(1, "running"), 65_536);
    assert.equal(rig.uploads.length, 1);
    rig.supersede(1);
    assert.equal(rig.uploads[0]?.aborted, true);
    assert.deepEqual(rig.sent, [released(1, REPORTED)]);
  });

  test("is not told of on another link: the gateway took it for released when this one broke", () => {
    const rig = new Rig();
    const job = rig.take(1, "running");
    rig.supersede(1);
    rig.isLinked = false;
    rig.flow.onLinkLost();
    rig.isLinked = true;
    rig.flow.resume(rig.flow.held(), []);
    done(job);
    assert.deepEqual(rig.sent, []);
    assert.equal(rig.flow.heldCount, 0);
  });

  test("does not keep an agent from closing", async () => {
    const rig = new Rig();
    rig.take(1, "running");
    rig.supersede(1);
    await rig.flow.close();
    assert.equal(rig.flow.heldCount, 0);
  });
});

describe("a runner", () => {
  const answer = (process: FakeProcess, seq: number): void =>
    process.handlers.onReport({
      type: "done",
      seq,
      output: { kind: "output", tensors: [] },
      timings: { preprocessMs: 0, executeMs: 1, postprocessMs: 0 },
      provider: "cpu",
    });
  const loaded = (process: FakeProcess): void => {
    process.ready();
    const load = process.commands.find((command) => command.type === "load");
    if (load?.type === "load")
      process.handlers.onReport({
        type: "loaded",
        seq: load.seq,
        provider: "cpu",
        passedOver: [],
        loadMs: 7,
      });
  };
  const seqOf = (process: FakeProcess, index: number): number => {
    const run = process.commands.filter((command) => command.type === "run")[index];
    return run?.type === "run" ? run.seq : 0;
  };

  test("is not killed for what it had begun before it heard that nobody waits for it", () => {
    for (const graceMs of [Number.POSITIVE_INFINITY, 1000]) {
      const { supervisor, last, clock } = supervise((handlers) => new FakeProcess(handlers));
      const [first, second] = [new JobSpy("m", {}, undefined), new JobSpy("m", {}, undefined)];
      supervisor.submit(first);
      const ticket = supervisor.submit(second);
      const process = last();
      loaded(process);
      supervisor.stop(ticket, graceMs);
      answer(process, seqOf(process, 0));
      clock.advance(5000);
      assert.equal(process.isAlive, graceMs === Number.POSITIVE_INFINITY);
      clock.advance(60_000);
      assert.equal(process.isAlive, false, "its limit holds all the same");
      assert.deepEqual(second.heard, []);
    }
  });

  test("says how many ran when a run began, itself included", () => {
    const { supervisor, processes } = supervise((handlers) => new FakeProcess(handlers), { slots: 2 });
    const jobs = [1, 2, 3].map(() => new JobSpy("m", {}, undefined));
    for (const job of jobs) supervisor.submit(job);
    const [a, b] = processes as [FakeProcess, FakeProcess];
    loaded(a);
    loaded(b);
    answer(b, seqOf(b, 0));
    answer(a, seqOf(a, 0));
    answer(a, seqOf(a, 1));
    assert.deepEqual(
      jobs.map(({ result }) => result?.timings.concurrency),
      [1, 2, 1],
    );
  });
});
