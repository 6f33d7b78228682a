/** What becomes of finished work when links come and go: the agent's tasks with a real disk, a link and a runner that a test plays. */

import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { fail } from "@legacygpu/shared/errors";
import { createLogger } from "@legacygpu/shared/log";
import type { AgentMessage, TaskOutput } from "@legacygpu/shared/protocol/messages";
import fc from "fast-check";
import type { Job, Ticket } from "../../agent/runner/job.ts";
import { Spool, type SpoolOptions } from "../../agent/tasks/spool.ts";
import { type Task, TaskFlow } from "../../agent/tasks/task-flow.ts";
import { floats } from "../support/fake-gateway.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { until } from "../support/until.ts";

const TIMINGS = {
  queuedMs: 0,
  loadMs: 0,
  preprocessMs: 0,
  executeMs: 1,
  postprocessMs: 0,
};
const MODEL = { key: "m", path: "/m.onnx", manifest: {} };

interface Upload {
  readonly token: number;
  readonly body: Uint8Array;
  readonly signal: AbortSignal;
  readonly finish: (error?: Error) => void;
}

/** One start of an agent's task flow. */
class Life {
  readonly clock = new ManualClock();
  readonly jobs = new Map<number, Job>();
  /** On the link that is up, with what their acknowledgement does. */
  sent: { message: AgentMessage; onDelivered: (() => void) | undefined }[] = [];
  uploads: Upload[] = [];
  isLinked = false;
  readonly flow: TaskFlow;
  readonly spool: Spool;
  #taking = 0;

  constructor(spool: Spool) {
    this.spool = spool;
    this.flow = new TaskFlow({
      clock: this.clock,
      log: createLogger("test", "silent"),
      runner: { submit: (job) => this.#submit(job), stop: () => {} },
      models: { acquire: () => MODEL },
      transfers: {
        fetchInput: () => Promise.reject(new Error("not in these tests")),
        storeOutput: ({ token }, body, signal) =>
          new Promise((resolve, reject) => {
            const finish = (error?: Error): void => (error === undefined ? resolve() : reject(error));
            signal.addEventListener("abort", () => finish(new Error("aborted")));
            this.uploads.push({ token, body, signal, finish });
          }),
      },
      spool,
      send: (message, onDelivered) => {
        if (this.isLinked) this.sent.push({ message, onDelivered });
        return this.isLinked;
      },
    });
  }

  take(token: number): void {
    this.#taking = token;
    const input: Task["input"] = { kind: "tensors", tensors: [] };
    const model = { name: "m", version: "1" };
    this.flow.take({ type: "task", taskId: `task-${token}`, token, model, input });
    this.jobs.get(token)?.onStarted();
  }

  /** A task that runs to its end. @param values in its output, four bytes each. */
  finish(token: number, values = 1): void {
    if (!this.jobs.has(token)) this.take(token);
    const output: TaskOutput = { kind: "output", tensors: [floats("output", [values], token)] };
    this.jobs.get(token)?.onDone({ output, provider: "cpu", timings: TIMINGS });
  }

  /** @param keep what the gateway still wants of what it was told; default: everything. */
  link(keep?: readonly number[]): void {
    this.isLinked = true;
    const held = this.flow.held();
    this.flow.resume(held, keep ?? held.map(({ token }) => token));
  }

  lose(): void {
    this.isLinked = false;
    this.sent = [];
    this.uploads = [];
    this.flow.onLinkLost();
  }

  /** Everything sent so far has arrived. */
  acknowledge(): void {
    for (const { onDelivered } of this.sent.splice(0)) onDelivered?.();
  }

  get outcomes(): { type: string; token: number }[] {
    return this.sent.flatMap(({ message }) =>
      message.type === "result" || message.type === "failed"
        ? [{ type: message.type, token: message.token }]
        : [],
    );
  }

  #submit(job: Job): Ticket {
    this.jobs.set(this.#taking, job);
    return {
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
  }
}

describe("the agent's finished work", () => {
  let directory: string;
  let lives: Life[];
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "legacygpu-delivery-"));
    lives = [];
  });
  afterEach(async () => {
    for (const { flow } of lives) await flow.close();
    await rm(directory, { recursive: true, force: true });
  });

  async function begin(more: Partial<SpoolOptions> = {}): Promise<Life> {
    const log = createLogger("test", "silent");
    const limits = { maxBytes: 2 ** 30, maxAttempts: 2000 };
    const life = new Life(await Spool.open({ directory, log, ...limits, ...more }));
    lives.push(life);
    return life;
  }
  /** Once everything that was asked of the disk is done. */
  async function files(life: Life): Promise<string[]> {
    await life.spool.close();
    return (await readdir(directory)).sort();
  }
  const spooled = (life: Life, count: number): Promise<unknown> =>
    until(`${count} outcomes on the disk`, () => life.flow.spooledCount === count);
  const results = (...tokens: number[]) => tokens.map((token) => ({ type: "result", token }));

  test("goes straight to the gateway and never to the disk while the link is up", async () => {
    const life = await begin();
    life.link();
    life.finish(1);
    assert.deepEqual(life.outcomes, results(1));
    assert.deepEqual(await files(life), []);
    life.acknowledge();
    assert.equal(life.flow.heldCount, 0);
  });

  test("goes to the disk when there is no link, and to the gateway and off the disk when there is one", async () => {
    const life = await begin();
    life.finish(1);
    await spooled(life, 1);
    assert.deepEqual(await files(life), ["1.outcome"]);
    assert.deepEqual(life.flow.held(), [{ taskId: "task-1", token: 1 }]);
    life.link();
    await until("the result", () => life.outcomes.length > 0);
    assert.deepEqual(life.outcomes, results(1));
    assert.deepEqual(await files(life), ["1.outcome"]);
    life.acknowledge();
    assert.equal(life.flow.heldCount, 0);
    assert.deepEqual(await files(life), []);
  });

  test("that was on its way when the link was lost goes to the disk and is sent again", async () => {
    const life = await begin();
    life.link();
    for (const token of [1, 2, 3]) life.finish(token);
    life.sent.shift()?.onDelivered?.();
    life.lose();
    await spooled(life, 2);
    assert.deepEqual(await files(life), ["2.outcome", "3.outcome"]);
    life.link();
    await until("the results", () => life.outcomes.length === 2);
    assert.deepEqual(life.outcomes, results(2, 3));
  });

  test("that the gateway does not want any more leaves the disk unsent", async () => {
    const life = await begin();
    for (const token of [1, 2]) life.finish(token);
    await spooled(life, 2);
    life.link([2]);
    await until("the wanted one", () => life.outcomes.length > 0);
    assert.deepEqual(life.outcomes, results(2));
    assert.deepEqual(await files(life), ["2.outcome"]);
    life.flow.cancel(2, "by its owner");
    assert.deepEqual(await files(life), []);
  });

  test("is announced and delivered by the next start of the agent, large outputs included", async () => {
    const first = await begin();
    first.finish(1);
    first.finish(2, 20_000);
    await spooled(first, 2);
    // As a killed one leaves it: nothing is closed.
    const second = await begin();
    assert.deepEqual(second.flow.held(), first.flow.held());
    second.link();
    const upload = await until("the upload", () => second.uploads[0]);
    assert.ok(Buffer.from(upload.body).includes(Buffer.from(floats("output", [20_000], 2).data)));
    upload.finish();
    await until("both results", () => second.outcomes.length === 2);
    second.acknowledge();
    assert.deepEqual([second.flow.heldCount, await files(second)], [0, []]);
  });

  test("that is undelivered when the agent is closed is left to the next one; what still runs is not", async () => {
    const life = await begin();
    life.link();
    life.take(1);
    life.finish(2);
    await life.flow.close();
    assert.deepEqual(await files(life), ["2.outcome"]);
    assert.deepEqual(
      (await begin()).flow.held().map(({ token }) => token),
      [2],
    );
  });

  test("is not uploaded before there is a link, and anew on each", async () => {
    const life = await begin();
    life.finish(1, 20_000);
    assert.equal(life.uploads.length, 0);
    await spooled(life, 1);
    for (let link = 1; link <= 2; link += 1) {
      life.link();
      const { signal } = await until("an upload", () => life.uploads[0]);
      life.lose();
      assert.equal(signal.aborted, true);
    }
    life.link();
    (await until("an upload", () => life.uploads[0])).finish();
    await until("the result", () => life.outcomes.length === 1);
  });

  test("that cannot be uploaded is told as a failure, and its body leaves the disk with it", async () => {
    const life = await begin();
    life.finish(1, 20_000);
    await spooled(life, 1);
    life.link();
    (await until("the upload", () => life.uploads[0])).finish(fail("body_too_large"));
    await until("the failure", () => life.outcomes.length > 0);
    life.lose();
    await spooled(life, 1);
    life.link();
    await until("the failure again", () => life.outcomes.length > 0);
    assert.deepEqual(life.outcomes, [{ type: "failed", token: 1 }]);
    life.acknowledge();
    assert.deepEqual(await files(life), []);
  });

  test("beyond the bounds: the oldest is dropped and not announced", async () => {
    const life = await begin({ maxAttempts: 2 });
    for (const token of [1, 2, 3]) life.finish(token);
    await until("the oldest to go", () => life.flow.heldCount === 2);
    assert.deepEqual(
      life.flow.held().map(({ token }) => token),
      [2, 3],
    );
  });

  test("stays in memory when the disk refuses it, and is delivered all the same", async () => {
    await writeFile(join(directory, "blocked"), "");
    const life = await begin({ directory: join(directory, "blocked") });
    life.finish(1);
    await life.spool.close();
    assert.deepEqual([life.flow.heldCount, life.flow.spooledCount], [1, 0]);
    life.link();
    assert.deepEqual(life.outcomes, results(1));
    life.acknowledge();
    assert.equal(life.flow.heldCount, 0);
  });

  test("that is damaged on the disk is told as a failure that is worth another try", async () => {
    const life = await begin();
    life.finish(1);
    await spooled(life, 1);
    await writeFile(join(directory, "1.outcome"), "damaged");
    life.link();
    await until("the failure", () => life.sent.length > 0);
    const message = life.sent[0]?.message;
    assert.ok(message?.type === "failed");
    assert.deepEqual([message.error.code, message.error.retryable], ["transfer_failed", true]);
  });

  test("is read back little by little: a long outage does not fill the memory", async () => {
    const life = await begin();
    const mebibytes = 1024 * 256;
    for (let token = 1; token <= 8; token += 1) life.finish(token, 6 * mebibytes);
    await spooled(life, 8);
    life.link();
    await until("some uploads", () => life.uploads.length >= 3);
    await life.spool.close();
    assert.equal(life.uploads.length, 3);
    for (let token = 1; token <= 8; token += 1) {
      const upload = await until(`upload ${token}`, () => life.uploads.find((each) => each.token === token));
      upload.finish();
      await until(`result ${token}`, () => life.outcomes.length > 0);
      life.acknowledge();
    }
    assert.equal(life.flow.heldCount, 0);
  });

  test("for which the greeting had no room is kept, and delivered on its token alone", async () => {
    const life = await begin();
    life.take(1);
    for (const token of [2, 3]) life.finish(token);
    await spooled(life, 2);
    life.isLinked = true;
    life.flow.resume([{ taskId: "task-2", token: 2 }], []);
    await until("the result", () => life.outcomes.length > 0);
    assert.deepEqual(life.outcomes, results(3));
    life.finish(1);
    assert.deepEqual(life.outcomes, results(3, 1));
  });

  test("a gateway is told again what runs", async () => {
    const life = await begin();
    life.link();
    life.take(1);
    life.clock.advance(10);
    life.lose();
    life.link();
    life.clock.advance(10);
    assert.deepEqual(
      life.sent.map(({ message }) => message.type),
      ["accepted"],
    );
  });

  test("is never lost, whatever links, acknowledgements and starts of the agent do", async () => {
    const step = fc.constantFrom(
      "finish",
      "finish",
      "link",
      "lose",
      "acknowledge",
      "restart",
      "kill",
      "wait",
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        let life = await begin();
        let lastToken = 0;
        const delivered = new Set<number>();
        const acknowledge = (): void => {
          for (const { token } of life.outcomes) delivered.add(token);
          life.acknowledge();
        };
        for (const each of steps) {
          if (each === "finish") life.finish(++lastToken);
          else if (each === "link" && !life.isLinked) life.link();
          else if (each === "lose" && life.isLinked) life.lose();
          else if (each === "acknowledge") acknowledge();
          else if (each === "wait") await life.spool.close();
          else if (each === "restart") {
            life.isLinked = false;
            await life.flow.close();
            life = await begin();
          } else if (each === "kill") {
            if (life.isLinked) life.lose();
            await until("the disk to have everything", () => life.flow.spooledCount === life.flow.heldCount);
            life = await begin();
          }
        }
        if (!life.isLinked) life.link();
        await until("everything to be delivered", () => {
          acknowledge();
          return life.flow.heldCount === 0;
        });
        assert.equal(delivered.size, lastToken);
        await until("the disk to be empty", async () => (await files(life)).length === 0);
      }),
      { numRuns: 60 },
    );
  });
});
