/** A scheduler with everything real around it but the connections: those record what was sent. */

import { SortableIds } from "@legacygpu/shared/ids";
import { createLogger } from "@legacygpu/shared/log";
import type {
  AttemptTimings,
  GatewayMessage,
  MessageOf,
  TaskOutput,
} from "@legacygpu/shared/protocol/messages";
import type { Priority } from "@legacygpu/shared/task";
import { Balancer } from "../../gateway/balancers/balancer.ts";
import { Counters } from "../../gateway/metrics.ts";
import { Registry } from "../../gateway/registry/registry.ts";
import type { Hello, Worker, WorkerLink } from "../../gateway/registry/worker.ts";
import { Scheduler } from "../../gateway/scheduler/scheduler.ts";
import { newTask, type TaskRecord } from "../../gateway/tasks/record.ts";
import { ManualClock } from "./manual-clock.ts";

const ZERO_DIGEST = `sha256:${"0".repeat(64)}`;

export const NO_OUTPUT: TaskOutput = { kind: "output", tensors: [] };

export const timings = (executeMs: number): AttemptTimings => ({
  queuedMs: 0,
  fetchMs: 0,
  loadMs: 0,
  preprocessMs: 0,
  executeMs,
  postprocessMs: 0,
});

export class RecordingLink implements WorkerLink {
  readonly sessionId = "session_test";
  readonly keyId = "key";
  readonly sent: GatewayMessage[] = [];
  canSend = true;

  send(message: GatewayMessage): void {
    this.sent.push(message);
  }

  announce(): void {}

  get tasks(): MessageOf<GatewayMessage, "task">[] {
    return this.sent.filter((message) => message.type === "task");
  }
}

export function hello(workerId: string, more: Partial<Hello> = {}): Hello {
  return {
    type: "hello",
    protocol: [1],
    agentVersion: "test",
    workerId,
    instanceId: `${workerId}-1`,
    site: "lab",
    labels: {},
    hardware: { cpu: { model: "test", cores: 1 }, memoryBytes: 1, platform: "test", gpus: [] },
    providers: ["cpu"],
    slots: 1,
    models: [],
    held: [],
    ...more,
  };
}

export class SchedulerRig {
  readonly clock = new ManualClock();
  readonly counters = new Counters();
  readonly settled: TaskRecord[] = [];
  readonly registry: Registry;
  readonly scheduler: Scheduler;
  readonly #ids = new SortableIds();

  constructor({ strategy = "LEAST_LOADED", maxQueueSize = 1000, reconnectGraceMs = 1000 } = {}) {
    const log = createLogger("test", "silent");
    this.registry = new Registry({
      clock: this.clock,
      log,
      reconnectGraceMs,
      onGone: (worker, tokens) => this.scheduler.lost(worker, tokens, worker.cause),
    });
    this.scheduler = new Scheduler({
      clock: this.clock,
      log,
      registry: this.registry,
      balancer: new Balancer(strategy),
      counters: this.counters,
      maxQueueSize,
      onSettled: (task) => this.settled.push(task),
    });
  }

  /** A new worker, at once known to the scheduler. */
  connect(workerId: string, more: Partial<Hello> = {}): { worker: Worker; link: RecordingLink } {
    const link = new RecordingLink();
    const arrival = this.registry.arrive(hello(workerId, more), link);
    if (arrival.kind === "taken") throw new Error(`${workerId} is taken`);
    this.scheduler.dispatch();
    return { worker: arrival.worker, link };
  }

  task(
    more: { priority?: Priority; model?: string; deadlineMs?: number; maxAttempts?: number } = {},
  ): TaskRecord {
    const createdAtMs = this.clock.now();
    return newTask({
      id: this.#ids.nextTaskId(createdAtMs),
      ownerKeyId: "key",
      model: {
        name: more.model ?? "m",
        version: "1",
        file: ZERO_DIGEST,
        fileBytes: 1,
        manifest: ZERO_DIGEST,
      },
      input: { kind: "tensors", tensors: [] },
      outputs: undefined,
      priority: more.priority ?? "NORMAL",
      metadata: {},
      createdAtMs,
      deadlineAtMs: more.deadlineMs === undefined ? undefined : createdAtMs + more.deadlineMs,
      maxAttempts: more.maxAttempts ?? 3,
    });
  }

  submit(more: Parameters<SchedulerRig["task"]>[0] = {}): TaskRecord {
    const task = this.task(more);
    this.scheduler.submit(task);
    return task;
  }
}
