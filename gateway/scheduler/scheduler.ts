/**
 * The life of a task between acceptance and its end: waits in the queue, is bound late to a worker with credit, and is settled once.
 *
 * Every attempt has a fencing token. `#live` holds the attempts whose answer is still wanted; an answer with any other token
 * changes nothing and is counted. Whatever frees a worker, brings one or adds a task calls {@link Scheduler.dispatch}.
 */

import type { Clock, Timer } from "@legacygpu/shared/clock";
import { fail, toWireError, type WireError } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import type { Logger } from "@legacygpu/shared/log";
import type { AttemptTimings, TaskInput, TaskOutput } from "@legacygpu/shared/protocol/messages";
import { type AttemptOutcome, PRIORITIES, type TaskState } from "@legacygpu/shared/task";
import type { Balancer } from "../balancers/balancer.ts";
import type { Counters } from "../metrics.ts";
import { ReadyQueue, type Ticket } from "../queue/ready-queue.ts";
import type { Registry } from "../registry/registry.ts";
import type { Worker } from "../registry/worker.ts";
import {
  type AttemptRecord,
  countedAttempts,
  modelKey,
  type TaskRecord,
  transition,
} from "../tasks/record.ts";
import { pickWorker } from "./pick-worker.ts";
import { taskMessage } from "./task-message.ts";
import { waitingReason } from "./waiting-reason.ts";

/** A task that never gets as far as being run is not sent around for ever. */
const MAX_SENDS = 20;

export interface SchedulerOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly registry: Registry;
  readonly balancer: Balancer;
  readonly counters: Counters;
  readonly maxQueueSize: number;
  /** Above every token of earlier starts: an agent that survived the last one must not hold a live-looking one. Default: by the clock. */
  readonly firstToken?: number;
  /** The task has reached a final state. */
  readonly onSettled: (task: TaskRecord) => void;
}

interface Attempt {
  readonly record: AttemptRecord;
  readonly worker: Worker;
  /** Monotonic. */
  readonly sentAtMs: number;
}

interface Entry {
  readonly task: TaskRecord;
  /** Monotonic; the latest time that it entered the queue. */
  queuedAtMs: number;
  ticket: Ticket<Entry> | undefined;
  attempt: Attempt | undefined;
  deadline: Timer | undefined;
  readonly triedWorkerIds: Set<string>;
  lastError: WireError | undefined;
}

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #queue = new ReadyQueue<Entry>(PRIORITIES.length);
  readonly #entries = new Map<TaskId, Entry>();
  readonly #live = new Map<number, Entry>();
  #lastToken: number;
  #running = 0;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#lastToken = options.firstToken ?? options.clock.now() * 1000;
  }

  get pendingCount(): number {
    return this.#entries.size - this.#running;
  }

  get runningCount(): number {
    return this.#running;
  }

  /** Whoever submits has asked {@link assertRoom} before: a task that is stored by now cannot be refused any more. */
  submit(task: TaskRecord): void {
    this.#enqueue(this.#enter(task), "back");
    this.dispatch();
  }

  /**
   * Takes up a task that an earlier start of this gateway accepted; it goes before everything of its class. Called for the newest first, before
   * the first worker comes, so that the oldest is the first. A deadline that passed meanwhile ends it.
   */
  restore(task: TaskRecord): void {
    const nowMs = this.#options.clock.now();
    if (task.state === "RUNNING") transition(task, "PENDING", nowMs);
    const entry = this.#enter(task);
    this.#enqueue(entry, "front");
    if (task.deadlineAtMs !== undefined && task.deadlineAtMs <= nowMs) this.#deadlinePassed(entry);
  }

  /** @param arriving tasks that have been let in and are not submitted yet. @throws `queue_full` */
  assertRoom(arriving = 0): void {
    const limit = this.#options.maxQueueSize;
    const pending = this.pendingCount + arriving;
    if (pending < limit) return;
    throw fail("queue_full", `${pending} tasks are waiting; the limit is ${limit}.`, { pending, limit });
  }

  /** @returns false when the task has already ended. */
  cancel(id: TaskId, reason: string): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    this.#abandonAttempt(entry, "cancelled", reason);
    this.#settle(entry, "CANCELLED", { error: toWireError(fail("task_cancelled", reason)) });
    this.dispatch();
    return true;
  }

  /** Sends waiting tasks to workers with credit until one of the two runs out. */
  dispatch(): void {
    for (;;) {
      const taken = this.#queue.takeFirst((entry) => this.#pick(entry));
      if (taken === undefined) return;
      this.#send(taken.item, taken.choice);
    }
  }

  /** The worker began to run the attempt. */
  accepted(worker: Worker, token: number): void {
    const entry = this.#entryOf(worker, token);
    if (entry?.attempt === undefined) return;
    entry.attempt.record.wasAccepted = true;
    this.#start(entry);
  }

  completed(worker: Worker, token: number, output: TaskOutput, timings: AttemptTimings): void {
    const entry = this.#entryOf(worker, token);
    if (entry?.attempt === undefined) return;
    const { record, sentAtMs } = entry.attempt;
    record.wasAccepted = true;
    this.#start(entry);
    const busyMs = timings.loadMs + timings.preprocessMs + timings.executeMs + timings.postprocessMs;
    const totalMs = this.#options.clock.monotonic() - sentAtMs;
    entry.task.timings = {
      onWorker: timings,
      queueMs: sentAtMs - entry.queuedAtMs,
      networkMs: Math.max(0, totalMs - timings.queuedMs - timings.fetchMs - busyMs),
    };
    worker.completed += 1;
    worker.served(busyMs - timings.loadMs);
    this.#endAttempt(entry, "completed");
    this.#settle(entry, "COMPLETED", { output });
  }

  failed(worker: Worker, token: number, error: WireError): void {
    const entry = this.#entryOf(worker, token);
    if (entry?.attempt === undefined) return;
    worker.failed += 1;
    if (error.code === "model_load_failed") worker.modelFailed(entry.task.model, this.#options.clock.now());
    const isTimeout = error.code === "deadline_exceeded" || error.code === "execution_timeout";
    this.#endAttempt(entry, isTimeout ? "timed_out" : "failed", error);
    if (isTimeout) this.#settle(entry, "TIMED_OUT", { error });
    else if (error.retryable) this.#retry(entry, error);
    else this.#settle(entry, "FAILED", { error });
  }

  /** The worker will not answer for these any more. */
  lost(worker: Worker, tokens: readonly number[], cause: string): void {
    for (const token of tokens) {
      const entry = this.#entryOf(worker, token);
      if (entry === undefined) continue;
      this.#options.counters.attemptsLost += 1;
      const error = toWireError(fail("worker_lost", `Worker ${worker.id} was lost: ${cause}.`));
      this.#endAttempt(entry, "worker_lost", error);
      this.#retry(entry, error);
    }
    this.dispatch();
  }

  /** The input of a live attempt, for a worker that connected with `keyId`. @throws `attempt_not_found` */
  inputOf(taskId: string, token: number, keyId: string): TaskInput {
    const entry = this.#live.get(token);
    const isTheirs = entry?.task.id === taskId && entry.attempt?.worker.link?.keyId === keyId;
    if (!isTheirs || entry.task.input === undefined) throw fail("attempt_not_found");
    return entry.task.input;
  }

  isLive(worker: Worker, token: number): boolean {
    return this.#live.get(token)?.attempt?.worker === worker;
  }

  /** Why the task is not running yet, for a person; undefined when it runs or has ended. */
  pendingReason(id: TaskId): string | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.task.state !== "PENDING") return undefined;
    if (entry.attempt !== undefined)
      return `Sent to worker ${entry.attempt.worker.id}, which has not started it yet.`;
    const ahead = entry.ticket === undefined ? 0 : this.#queue.positionOf(entry.ticket);
    const { registry, clock } = this.#options;
    return waitingReason([...registry.all], entry.task.model, ahead, entry.lastError, clock.now());
  }

  close(): void {
    for (const entry of this.#entries.values()) entry.deadline?.cancel();
    this.#entries.clear();
    this.#live.clear();
  }

  #pick(entry: Entry): Worker | undefined {
    const { registry, balancer, clock } = this.#options;
    return pickWorker(registry.all, balancer, entry.task.model, entry.triedWorkerIds, clock.now());
  }

  #enter(task: TaskRecord): Entry {
    const entry: Entry = {
      task,
      queuedAtMs: 0,
      ticket: undefined,
      attempt: undefined,
      deadline: undefined,
      triedWorkerIds: new Set(),
      lastError: undefined,
    };
    this.#entries.set(task.id, entry);
    if (task.deadlineAtMs !== undefined) {
      const leftMs = Math.max(0, task.deadlineAtMs - this.#options.clock.now());
      entry.deadline = this.#options.clock.after(leftMs, () => this.#deadlinePassed(entry));
    }
    return entry;
  }

  #enqueue(entry: Entry, end: "front" | "back"): void {
    const { task } = entry;
    const place = { classIndex: PRIORITIES.indexOf(task.priority), group: modelKey(task.model) };
    entry.queuedAtMs = this.#options.clock.monotonic();
    entry.ticket = end === "front" ? this.#queue.pushFront(entry, place) : this.#queue.pushBack(entry, place);
  }

  #send(entry: Entry, worker: Worker): void {
    const { clock } = this.#options;
    entry.ticket = undefined;
    this.#lastToken += 1;
    const record: AttemptRecord = {
      token: this.#lastToken,
      workerId: worker.id,
      site: worker.hello.site,
      startedAtMs: clock.now(),
      wasAccepted: false,
      endedAtMs: undefined,
      outcome: undefined,
      error: undefined,
    };
    entry.task.attempts.push(record);
    entry.attempt = { record, worker, sentAtMs: clock.monotonic() };
    this.#live.set(record.token, entry);
    worker.tokens.add(record.token);
    worker.link?.announce(entry.task.model);
    worker.link?.send(taskMessage(entry.task, record.token, clock.now()));
  }

  #start(entry: Entry): void {
    if (entry.task.state === "RUNNING") return;
    transition(entry.task, "RUNNING", this.#options.clock.now());
    this.#running += 1;
  }

  #retry(entry: Entry, error: WireError): void {
    const { task } = entry;
    entry.lastError = error;
    const last = task.attempts.at(-1);
    if (last !== undefined) entry.triedWorkerIds.add(last.workerId);
    if (countedAttempts(task) >= task.maxAttempts || task.attempts.length >= MAX_SENDS) {
      this.#settle(entry, "FAILED", {
        error: {
          ...error,
          message: `${error.message} (attempt ${task.attempts.length}, no more are made)`,
          retryable: false,
        },
      });
      return;
    }
    if (task.state === "RUNNING") {
      transition(task, "PENDING", this.#options.clock.now());
      this.#running -= 1;
    }
    this.#enqueue(entry, "front");
  }

  #entryOf(worker: Worker, token: number): Entry | undefined {
    const entry = this.#live.get(token);
    if (entry !== undefined && entry.attempt?.worker === worker) return entry;
    this.#options.counters.staleMessages += 1;
    return undefined;
  }

  #endAttempt(entry: Entry, outcome: AttemptOutcome, error?: WireError): void {
    const { attempt } = entry;
    if (attempt === undefined) return;
    entry.attempt = undefined;
    this.#live.delete(attempt.record.token);
    attempt.worker.tokens.delete(attempt.record.token);
    attempt.record.endedAtMs = this.#options.clock.now();
    attempt.record.outcome = outcome;
    attempt.record.error = error;
  }

  /** Ends the attempt from our side and tells the worker. */
  #abandonAttempt(entry: Entry, outcome: AttemptOutcome, reason: string): void {
    const { attempt } = entry;
    if (attempt === undefined) return;
    attempt.worker.link?.send({ type: "cancel", taskId: entry.task.id, token: attempt.record.token, reason });
    this.#endAttempt(entry, outcome);
  }

  #deadlinePassed(entry: Entry): void {
    const phase = entry.task.state === "RUNNING" ? "while it ran" : "before it was started";
    const reason = this.pendingReason(entry.task.id);
    this.#abandonAttempt(entry, "timed_out", "its deadline passed");
    const message = `The deadline passed ${phase}.${reason === undefined ? "" : ` ${reason}`}`;
    this.#settle(entry, "TIMED_OUT", { error: toWireError(fail("deadline_exceeded", message)) });
    this.dispatch();
  }

  #settle(entry: Entry, to: TaskState, how: { output?: TaskOutput; error?: WireError }): void {
    const { task } = entry;
    if (task.state === "RUNNING") this.#running -= 1;
    entry.deadline?.cancel();
    if (entry.ticket !== undefined) this.#queue.remove(entry.ticket);
    this.#entries.delete(task.id);
    task.output = how.output;
    task.error = how.error;
    transition(task, to, this.#options.clock.now());
    this.#options.counters.taskEnded(to, (task.completedAtMs ?? 0) - task.createdAtMs);
    this.#options.onSettled(task);
  }
}
