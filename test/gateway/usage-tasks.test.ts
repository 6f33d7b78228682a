import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type ErrorCode, fail, toWireError } from "@legacygpu/shared/errors";
import { createLogger } from "@legacygpu/shared/log";
import { Balancer } from "../../gateway/balancers/balancer.ts";
import type { LimitsConfig } from "../../gateway/limits/limits-config.ts";
import { Counters } from "../../gateway/metrics.ts";
import type { Model } from "../../gateway/models/catalogue.ts";
import { Admission } from "../../gateway/queue/admission.ts";
import { Registry } from "../../gateway/registry/registry.ts";
import type { Worker } from "../../gateway/registry/worker.ts";
import { Scheduler } from "../../gateway/scheduler/scheduler.ts";
import { MemoryTaskStore } from "../../gateway/store/memory-task-store.ts";
import { Batches } from "../../gateway/tasks/batches.ts";
import type { Submission } from "../../gateway/tasks/submission.ts";
import { TaskService } from "../../gateway/tasks/task-service.ts";
import { hello, NO_OUTPUT, RecordingLink, timings } from "../support/scheduler-rig.ts";
import { keyOf, LimitsRig } from "./limits-rig.ts";

const ACME = keyOf("acme");
const DIGEST = `sha256:${"0".repeat(64)}` as const;
const MODEL: Model = {
  ref: { name: "m", version: "1", file: DIGEST, fileBytes: 1, manifest: DIGEST },
  manifest: {},
  createdAtMs: 0,
  inputs: [],
  outputs: [],
};
const LIMITS = { maxTasks: 8, maxBytes: 1e9, maxTasksPerKey: 8, maxBytesPerKey: 1e9 };

const submission = (more: Partial<Submission> = {}): Submission => ({
  model: MODEL,
  input: { kind: "tensors", tensors: [] },
  priority: "NORMAL",
  ...more,
});

class FillingStore extends MemoryTaskStore {
  isFull = false;

  override async insert(...given: Parameters<MemoryTaskStore["insert"]>): Promise<void> {
    if (this.isFull) throw fail("store_full");
    await super.insert(...given);
  }
}

/** The gateway between HTTP and the links, with one worker that does what a test says. */
class TasksRig extends LimitsRig {
  readonly store = new FillingStore({ maxFinished: 100, clock: this.clock });
  readonly admission = new Admission(LIMITS);
  readonly link = new RecordingLink();
  readonly scheduler: Scheduler;
  readonly tasks: TaskService;
  readonly batches: Batches;
  readonly worker: Worker;

  constructor(t: TestContext, dailyQuotas: LimitsConfig["dailyQuotas"] = {}) {
    super({ dailyQuotas });
    const { clock, store, admission, quotas: quota } = this;
    const log = createLogger("test", "silent");
    const registry: Registry = new Registry({
      clock,
      log,
      reconnectGraceMs: 1000,
      leaseMs: 15_000,
      onGone: (worker, tokens) => this.scheduler.lost(worker, tokens, worker.cause),
    });
    this.scheduler = new Scheduler({
      clock,
      random: () => 0,
      log,
      registry,
      balancer: new Balancer("LEAST_LOADED"),
      counters: new Counters(),
      leaseMs: 15_000,
      firstToken: 1,
      stored: store,
      onChanged: (task) => this.tasks.changed(task),
      onSettled: (task) => this.tasks.settled(task),
    });
    const notifier = { deliveriesFor: () => [], wake: () => {} };
    this.tasks = new TaskService({
      clock,
      log,
      store,
      scheduler: this.scheduler,
      admission,
      notifier,
      quota,
    });
    this.batches = new Batches(this.tasks, store.documents, clock);
    const arrival = registry.arrive(hello("box"), this.link);
    assert.ok(arrival.kind !== "taken");
    this.worker = arrival.worker;
    t.after(async () => {
      this.tasks.close();
      this.scheduler.close();
      registry.close();
      await this.ledger.close();
    });
  }

  get used(): { tasks: number; gpuSeconds: number } {
    const { tasks, gpuSeconds } = this.quotas.usage("acme");
    return { tasks: tasks.used, gpuSeconds: gpuSeconds.used };
  }

  /** The worker begins the attempt that it was sent last, and ends it after a while. */
  runFor(ms: number, end: (token: number) => void): void {
    const token = this.link.tasks.at(-1)?.token ?? 0;
    this.scheduler.accepted(this.worker, token);
    this.clock.advance(ms);
    end(token);
  }

  completeAfter(ms: number, executeMs: number): void {
    this.runFor(ms, (token) => this.scheduler.completed(this.worker, token, NO_OUTPUT, timings(executeMs)));
  }

  failAfter(ms: number, code: ErrorCode): void {
    this.runFor(ms, (token) => this.scheduler.failed(this.worker, token, toWireError(fail(code))));
  }
}

test("every way to hand in a task is charged, and what is over the quota leaves no trace", async (t) => {
  const rig = new TasksRig(t, { default: { tasks: 5 } });
  await rig.tasks.submit(ACME, [submission()]);
  await rig.batches.create(
    ACME,
    { model: "m", priority: "NORMAL", durability: "flushed" },
    [1, 2].map(() => ({ submission: submission(), reference: undefined })),
  );
  const inference = rig.tasks.infer(ACME, submission());
  inference.done.catch(() => {});
  assert.equal(rig.used.tasks, 4);
  const refused = { code: "quota_exceeded" };
  await assert.rejects(rig.tasks.submit(ACME, [submission(), submission()]), refused);
  await rig.tasks.submit(ACME, [submission()]);
  assert.throws(() => rig.tasks.infer(ACME, submission()), refused);
  assert.equal(rig.used.tasks, 5);
  assert.equal(rig.admission.usageOf("acme").tasks, 5);
  const { tasks } = await rig.tasks.list(ACME, { limit: 100 });
  assert.equal(tasks.length, 4, "all but the synchronous one are stored");
});

test("what the queue or the store does not take is not charged", async (t) => {
  const rig = new TasksRig(t, { default: { tasks: 100 } });
  await assert.rejects(rig.tasks.submit(ACME, new Array(9).fill(submission())), { code: "body_too_large" });
  assert.equal(rig.used.tasks, 0);
  rig.store.isFull = true;
  await assert.rejects(rig.tasks.submit(ACME, [submission(), submission()]), { code: "store_full" });
  assert.equal(rig.used.tasks, 0);
  assert.equal(rig.admission.usageOf("acme").tasks, 0);
});

test("what the worker says that a model ran is charged as GPU time when the task has ended", async (t) => {
  const rig = new TasksRig(t);
  await rig.tasks.submit(ACME, [submission()]);
  assert.equal(rig.used.gpuSeconds, 0);
  rig.completeAfter(900, 250);
  assert.equal(rig.used.gpuSeconds, 0.25);
  const inference = rig.tasks.infer(ACME, submission());
  rig.completeAfter(900, 50);
  await inference.done;
  assert.equal(rig.used.gpuSeconds, 0.3);
});

test("an attempt without a result is charged from its beginning to its end", async (t) => {
  const rig = new TasksRig(t);
  await rig.tasks.submit(ACME, [submission({ maxAttempts: 1 })]);
  rig.failAfter(700, "model_run_failed");
  assert.equal(rig.used.gpuSeconds, 0.7);
  await rig.tasks.submit(ACME, [submission()]);
  rig.failAfter(2000, "execution_timeout");
  assert.equal(rig.used.gpuSeconds, 2.7);
  const [task] = await rig.tasks.submit(ACME, [submission()]);
  rig.runFor(300, () => {});
  await rig.tasks.cancel(ACME, task?.id ?? "");
  assert.equal(rig.used.gpuSeconds, 3);
});

test("what was the system's fault, or never begun, is nobody's to pay", async (t) => {
  const rig = new TasksRig(t);
  const [first] = await rig.tasks.submit(ACME, [submission({ backoffMs: 0 })]);
  rig.failAfter(700, "transfer_failed");
  rig.clock.advance(0);
  rig.completeAfter(100, 40);
  assert.equal((await rig.tasks.get(ACME, first?.id ?? "")).attempts.length, 2);
  assert.equal(rig.used.gpuSeconds, 0.04);
  const [second] = await rig.tasks.submit(ACME, [submission()]);
  rig.clock.advance(500);
  await rig.tasks.cancel(ACME, second?.id ?? "");
  assert.equal(rig.used.gpuSeconds, 0.04);
});

test("another try of a task that failed is one more task, and only its own attempts are charged for it", async (t) => {
  const rig = new TasksRig(t, { default: { tasks: 2 } });
  const [task] = await rig.tasks.submit(ACME, [submission({ maxAttempts: 1 })]);
  const id = task?.id ?? "";
  rig.failAfter(700, "model_run_failed");
  await rig.tasks.retry(ACME, id);
  rig.failAfter(100, "model_run_failed");
  assert.deepEqual(rig.used, { tasks: 2, gpuSeconds: 0.8 });
  await assert.rejects(rig.tasks.retry(ACME, id), { code: "quota_exceeded" });
  assert.equal((await rig.tasks.get(ACME, id)).state, "FAILED");
});
