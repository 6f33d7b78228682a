/** A scheduler with everything real around it but the connections: those record what was sent. */

import { SortableIds } from "@legacygpu/shared/ids";
import { createLogger } from "@legacygpu/shared/log";
import type {
  AttemptTimings,
  GatewayMessage,
  MessageOf,
  TaskOutput,
} from "@legacygpu/shared/protocol/messages";
import type { StrategyName } from "@legacygpu/shared/task";
import { createStrategies } from "../../gateway/balancers/strategies.ts";
import type { Strategy } from "../../gateway/balancers/strategy.ts";
import { Counters } from "../../gateway/metrics.ts";
import { Registry } from "../../gateway/registry/registry.ts";
import type { Hello, Worker, WorkerLink } from "../../gateway/registry/worker.ts";
import type { ReplicaGate } from "../../gateway/scheduler/replica-gate.ts";
import { Scheduler } from "../../gateway/scheduler/scheduler.ts";
import { newTask, type TaskOrder, type TaskRecord } from "../../gateway/tasks/record.ts";
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

type TaskWishes = Partial<
  Pick<
    TaskOrder,
    "priority" | "tenant" | "maxAttempts" | "backoffMs" | "retryOn" | "placement" | "mayBeCopied"
  >
> & { readonly model?: string; readonly deadlineMs?: number };

interface SchedulerRigOptions {
  readonly strategy?: StrategyName;
  readonly reconnectGraceMs?: number;
  readonly leaseMs?: number;
  readonly firstToken?: number;
  /** Asked when it is first needed: what it returns may need this rig. */
  readonly gate?: () => ReplicaGate;
  readonly onGone?: (worker: Worker) => void;
}

export class SchedulerRig {
  readonly clock = new ManualClock();
  readonly counters = new Counters();
  readonly settled: TaskRecord[] = [];
  readonly changed: TaskRecord[] = [];
  /** Superseded attempts: who was told of them, and who is done with them. */
  readonly superseded: { readonly workerId: string; readonly token: number }[] = [];
  readonly released: {
    readonly workerId: string;
    readonly token: number;
    readonly timings: AttemptTimings | undefined;
  }[] = [];
  /** What a store would have of unfinished tasks. */
  readonly stored = new Map<string, TaskRecord>();
  readonly registry: Registry;
  readonly scheduler: Scheduler;
  /** Draws of the scheduler; waits are longest with 1. */
  random = 0.5;
  readonly #ids = new SortableIds();

  constructor({
    strategy = "LEAST_LOADED",
    reconnectGraceMs = 1000,
    leaseMs = 15_000,
    firstToken = 1_000_000,
    gate,
    onGone,
  }: SchedulerRigOptions = {}) {
    const log = createLogger("test", "silent");
    const strategies = createStrategies();
    this.registry = new Registry({
      clock: this.clock,
      log,
      reconnectGraceMs,
      leaseMs,
      onGone: (worker, tokens) => {
        onGone?.(worker);
        this.scheduler.lost(worker, tokens, worker.cause);
      },
    });
    this.scheduler = new Scheduler({
      clock: this.clock,
      random: () => this.random,
      log,
      registry: this.registry,
      strategyFor: () => strategies.get(strategy) as Strategy,
      counters: this.counters,
      leaseMs,
      firstToken,
      stored: { load: (id) => this.stored.get(id), loadRecord: (id) => this.stored.get(id) },
      gate: gate && {
        replicasOf: (model) => gate().replicasOf(model),
        starved: (model) => gate().starved(model),
        reason: (model) => gate().reason(model),
      },
      onChanged: (task) => this.changed.push(task),
      onSuperseded: (worker, { record }) =>
        this.superseded.push({ workerId: worker.id, token: record.token }),
      onReleased: (worker, { record }, timings) =>
        this.released.push({ workerId: worker.id, token: record.token, timings }),
      onSettled: (task) => {
        this.stored.delete(task.id);
        this.settled.push(task);
      },
    });
  }

  /** A new worker, at once known to the scheduler. */
  connect(workerId: string, more: Partial<Hello> = {}): { worker: Worker; link: RecordingLink } {
    const { worker, link } = this.greet(workerId, more);
    return { worker, link };
  }

  /** As the hub does it: claims what the worker says it holds before anything is sent. */
  greet(
    workerId: string,
    more: Partial<Hello> = {},
    link = new RecordingLink(),
  ): { worker: Worker; link: RecordingLink; keep: number[] } {
    let greeted: { worker: Worker; keep: number[] } | undefined;
    this.scheduler.together(() => {
      const arrival = this.registry.arrive(hello(workerId, more), link);
      if (arrival.kind === "taken") throw new Error(`${workerId} is taken`);
      const { worker } = arrival;
      const keep = this.scheduler.claim(worker, more.held ?? []);
      const forgotten = [...worker.tokens].filter((token) => !keep.includes(token));
      this.scheduler.lost(worker, forgotten, "the link broke before it received the task");
      greeted = { worker, keep };
    });
    if (greeted === undefined) throw new Error("unreachable");
    return { ...greeted, link };
  }

  /** How many attempts a worker may hold now. */
  credit(worker: Worker): number {
    return this.scheduler.dispatching.creditOf(worker);
  }

  task(more: TaskWishes = {}): TaskRecord {
    const createdAtMs = this.clock.now();
    const order: TaskOrder = {
      id: this.#ids.nextTaskId(createdAtMs),
      tenant: more.tenant ?? "key",
      model: {
        name: more.model ?? "m",
        version: "1",
        file: ZERO_DIGEST,
        fileBytes: 1,
        manifest: ZERO_DIGEST,
      },
      outputs: undefined,
      priority: more.priority ?? "NORMAL",
      metadata: {},
      tags: [],
      createdAtMs,
      inputBytes: 100,
      executionLimitMs: undefined,
      resultTtlMs: 1000,
      maxAttempts: more.maxAttempts ?? 3,
      backoffMs: more.backoffMs ?? 0,
      retryOn: more.retryOn,
      placement: more.placement,
      webhook: undefined,
      batch: undefined,
      durability: "flushed",
      mayBeCopied: more.mayBeCopied ?? true,
      wantsChoice: false,
      requestHash: undefined,
    };
    const deadlineAtMs = more.deadlineMs === undefined ? undefined : createdAtMs + more.deadlineMs;
    return newTask(order, { kind: "tensors", tensors: [] }, deadlineAtMs);
  }

  submit(more: TaskWishes = {}): TaskRecord {
    const task = this.task(more);
    this.stored.set(task.id, task);
    this.scheduler.submit([task], { isStored: true });
    return task;
  }
}
