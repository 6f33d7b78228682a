/** Tasks between HTTP and the links: a service, a scheduler and one worker that does what a test says. */

import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { type ErrorCode, fail, toWireError } from "@legacygpu/shared/errors";
import { createLogger } from "@legacygpu/shared/log";
import { LeastLoaded } from "../../gateway/balancers/least-loaded.ts";
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
import { TaskService, type TaskServiceOptions } from "../../gateway/tasks/task-service.ts";
import { hello, NO_OUTPUT, RecordingLink, timings } from "../support/scheduler-rig.ts";
import { keyOf, LimitsRig } from "./limits-rig.ts";

export const ACME = keyOf("acme");
const DIGEST = `sha256:${"0".repeat(64)}` as const;
const MODEL: Model = {
  ref: { name: "m", version: "1", file: DIGEST, fileBytes: 1, manifest: DIGEST },
  manifest: {},
  createdAtMs: 0,
  inputs: [],
  outputs: [],
};
const LIMITS = { maxTasks: 8, maxBytes: 1e9, maxTasksPerKey: 8, maxBytesPerKey: 1e9 };

export const submission = (more: Partial<Submission> = {}): Submission => ({
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

export class TasksRig extends LimitsRig {
  readonly store = new FillingStore({ maxFinished: 100, clock: this.clock });
  readonly admission = new Admission(LIMITS);
  readonly link = new RecordingLink();
  readonly scheduler: Scheduler;
  readonly tasks: TaskService;
  readonly batches: Batches;
  readonly worker: Worker;

  /** @param more what the service is told beside. */
  constructor(
    t: TestContext,
    dailyQuotas: LimitsConfig["dailyQuotas"] = {},
    more: Partial<TaskServiceOptions> = {},
  ) {
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
    const strategy = new LeastLoaded();
    this.scheduler = new Scheduler({
      clock,
      random: () => 0,
      log,
      registry,
      strategyFor: () => strategy,
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
      ...more,
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
