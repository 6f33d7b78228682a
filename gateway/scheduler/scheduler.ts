/**
 * The life of a task between acceptance and its end: waits in the queue, is bound late to a worker with credit, and is settled once.
 *
 * Every attempt has a fencing token; an answer with a token that is not live changes nothing and is counted. Whatever frees a worker, brings
 * one or adds a task calls {@link Scheduler.dispatch}.
 */

import type { Clock, Random } from "@legacygpu/shared/clock";
import {
  asLegacyGpuError,
  fail,
  type LegacyGpuError,
  toWireError,
  type WireError,
} from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import type { Logger } from "@legacygpu/shared/log";
import type { AttemptTimings, TaskOutput } from "@legacygpu/shared/protocol/messages";
import { type AttemptOutcome, isFinal, type TaskState } from "@legacygpu/shared/task";
import type { Balancer } from "../balancers/balancer.ts";
import type { Counters } from "../metrics.ts";
import { TimeHeap } from "../queue/time-heap.ts";
import type { Registry } from "../registry/registry.ts";
import type { Worker } from "../registry/worker.ts";
import { countedAttempts, type TaskRecord, transition } from "../tasks/record.ts";
import { AttemptTable } from "./attempt-table.ts";
import { Entry, factsOf, type Orphan, type RestoredTask } from "./entry.ts";
import { Groups } from "./groups.ts";
import { pickWorker } from "./pick-worker.ts";
import { Records, type StoredTasks } from "./records.ts";
import { OPEN_GATE, type ReplicaGate } from "./replica-gate.ts";
import { afterFailure } from "./retry-policy.ts";
import { taskMessage } from "./task-message.ts";
import { TaskView } from "./task-view.ts";
import { Throughput } from "./throughput.ts";
import { WaitingRoom } from "./waiting-room.ts";

export interface SchedulerOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly registry: Registry;
  readonly balancer: Balancer;
  readonly counters: Counters;
  /** How long the work of an earlier start is kept for the workers that held it. */
  readonly leaseMs: number;
  /** Above every token of earlier starts. */
  readonly firstToken: number;
  readonly stored: StoredTasks;
  /** Default: nothing is deployed. */
  readonly gate?: ReplicaGate | undefined;
  /** A stored task has another attempt, or one of them has changed. */
  readonly onChanged: (task: TaskRecord) => void;
  /** The task has reached a final state. */
  readonly onSettled: (task: TaskRecord) => void;
}

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #waiting: WaitingRoom;
  readonly #groups = new Groups();
  readonly #records: Records;
  readonly #entries = new Map<TaskId, Entry>();
  readonly #attempts: AttemptTable;
  readonly #gate: ReplicaGate;
  readonly #deadlines: TimeHeap<Entry>;
  readonly #throughput: Throughput;
  /** How everything stands, for those who only look. */
  readonly view: TaskView;
  #running = 0;

  constructor(options: SchedulerOptions) {
    const { clock } = options;
    this.#options = options;
    this.#gate = options.gate ?? OPEN_GATE;
    this.#records = new Records(options.stored);
    this.#attempts = new AttemptTable(clock, options.firstToken);
    this.#throughput = new Throughput(clock);
    this.#deadlines = new TimeHeap({
      clock,
      slot: { get: (entry) => entry.deadlineSlot, set: (entry, index) => (entry.deadlineSlot = index) },
      onDue: (entry) => this.#deadlinePassed(entry),
    });
    this.#waiting = new WaitingRoom({
      clock,
      random: options.random,
      choose: (entry) => this.#choose(entry),
      send: (entry, worker) => this.#send(entry, worker),
    });
    this.view = new TaskView({
      clock,
      registry: options.registry,
      entries: this.#entries,
      attempts: this.#attempts,
      waiting: this.#waiting,
      groups: this.#groups,
      records: this.#records,
      throughput: this.#throughput,
      gate: this.#gate,
    });
  }

  get pendingCount(): number {
    return this.#entries.size - this.#running;
  }

  get runningCount(): number {
    return this.#running;
  }

  /** The queue that waits, by group, and which of it is held back. */
  get groups(): Groups {
    return this.#groups;
  }

  /** @param isStored the store has them: their records need not stay in memory. */
  submit(tasks: readonly TaskRecord[], { isStored }: { readonly isStored: boolean }): void {
    const entries = tasks.map((task) => {
      const entry = new Entry(factsOf(task, this.#groups.nameFor(task)), task, isStored);
      this.#records.entered(entry);
      this.#enter(entry);
      this.#waiting.enter(entry, "back");
      return entry;
    });
    this.dispatch();
    // What could go at once has not read the disk, however much waits for others.
    if (isStored) for (const entry of entries) this.#records.nowWaits(entry);
  }

  /**
   * Takes up a task that an earlier start of this gateway accepted. Called for the oldest first, before the first worker comes. One that a worker
   * held is kept for that worker for a lease.
   */
  restore(pending: RestoredTask): void {
    const { clock, leaseMs } = this.#options;
    const entry = new Entry(pending, undefined, true);
    entry.lastToken = pending.lastToken;
    entry.heldBy = pending.heldBy;
    this.#enter(entry);
    if (pending.heldBy === undefined) this.#waiting.enter(entry, "back");
    else this.#waiting.park(entry, clock.now() + leaseMs);
  }

  /**
   * @param known the task as it is stored, if the caller has just read it.
   * @returns false when the task has already ended.
   */
  cancel(id: TaskId, reason: string, known?: TaskRecord): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    if (entry.task === undefined && known !== undefined)
      this.#records.remember(entry, known, this.#options.clock.now());
    this.#withdraw(entry, "cancelled", reason);
    this.#settle(entry, "CANCELLED", { error: toWireError(fail("task_cancelled", reason)) });
    this.dispatch();
    return true;
  }

  /** The task can never be completed any more: it fails now, wherever it is. @returns false when it has already ended. */
  abandon(id: TaskId, error: LegacyGpuError): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    this.#withdraw(entry, "cancelled", error.message);
    this.#settle(entry, "FAILED", { error: toWireError(error) });
    this.dispatch();
    return true;
  }

  /** Sends waiting tasks to workers with credit until one of the two runs out. */
  dispatch(): void {
    this.#waiting.offer();
  }

  /** Nothing is sent while `work` runs, so that a worker which comes back can claim what it held before others are asked; then dispatches. */
  together(work: () => void): void {
    this.#waiting.offerAfter(work);
  }

  /** Of the attempts that a worker says it holds: those that it may go on with. */
  claim(worker: Worker, held: readonly { readonly taskId: string; readonly token: number }[]): number[] {
    return held
      .filter(({ taskId, token }) => this.#claimOne(worker, taskId, token))
      .map(({ token }) => token);
  }

  /** The worker began to run the attempt. */
  accepted(worker: Worker, token: number): void {
    const entry = this.#liveEntry(worker, token);
    if (entry === undefined) return;
    this.#start(entry);
    this.#changed(entry);
  }

  completed(worker: Worker, token: number, output: TaskOutput, timings: AttemptTimings): void {
    const { clock, registry } = this.#options;
    const entry = this.#liveEntry(worker, token);
    if (entry?.attempt === undefined || entry.task === undefined) return;
    const { sentAtMs } = entry.attempt;
    this.#start(entry);
    const busyMs = timings.loadMs + timings.preprocessMs + timings.executeMs + timings.postprocessMs;
    const totalMs = clock.monotonic() - sentAtMs;
    entry.task.timings = {
      onWorker: timings,
      queueMs: Math.max(0, sentAtMs - entry.queuedAtMs),
      networkMs: Math.max(0, totalMs - timings.queuedMs - timings.fetchMs - busyMs),
    };
    worker.completed += 1;
    worker.served(busyMs - timings.loadMs);
    worker.ranAsOne(entry.task.model, timings.batchSize ?? 1);
    registry.noteSuccess(worker);
    this.#waiting.succeeded();
    entry.task.outputBytes = output.tensors.reduce((sum, { data }) => sum + data.length, 0);
    this.#endAttempt(entry, "completed");
    this.#settle(entry, "COMPLETED", { output });
  }

  failed(worker: Worker, token: number, error: WireError): void {
    const entry = this.#liveEntry(worker, token);
    if (entry?.task === undefined) return;
    worker.failed += 1;
    if (error.code === "model_load_failed") worker.modelFailed(entry.task.model, this.#options.clock.now());
    this.#options.registry.noteFailure(worker, error);
    const isTimeout = error.code === "deadline_exceeded" || error.code === "execution_timeout";
    this.#endAttempt(entry, isTimeout ? "timed_out" : "failed", error);
    if (isTimeout) this.#settle(entry, "TIMED_OUT", { error });
    else this.#afterFailure(entry, entry.task, worker, error);
  }

  /** The worker will not answer for these any more, unless it comes back before somebody else has begun them. */
  lost(worker: Worker, tokens: readonly number[], cause: string): void {
    const nowMs = this.#options.clock.now();
    for (const token of tokens) {
      const entry = this.#attempts.find(worker, token);
      const attempt = entry === undefined ? undefined : this.#attempts.release(entry);
      if (entry?.task === undefined || attempt === undefined) continue;
      this.#options.counters.attemptsLost += 1;
      const error = toWireError(fail("worker_lost", `Worker ${worker.id} was lost: ${cause}.`));
      entry.needTrouble.orphan = { record: attempt.record, lostAtMs: nowMs, error };
      this.#afterFailure(entry, entry.task, worker, error);
    }
    this.dispatch();
  }

  close(): void {
    this.#deadlines.close();
    this.#waiting.close();
    this.#entries.clear();
    this.#attempts.clear();
  }

  // ---- the ways of an entry

  #enter(entry: Entry): void {
    this.#entries.set(entry.id, entry);
    this.#groups.add(entry.group);
    if (entry.deadlineAtMs !== undefined) this.#deadlines.add(entry, entry.deadlineAtMs);
  }

  #choose(entry: Entry): Worker | undefined {
    if (this.#groups.isPaused(entry.group)) return undefined;
    const { registry, balancer, clock } = this.#options;
    const requirements = this.#groups.requirements(entry.group);
    const replicas = this.#gate.replicasOf(requirements.model);
    if (replicas?.size === 0) {
      this.#gate.starved(requirements.model);
      return undefined;
    }
    const now = { wallMs: clock.now(), monotonicMs: clock.monotonic() };
    return pickWorker(registry.all, balancer, requirements, entry.trouble, now, replicas);
  }

  #send(entry: Entry, worker: Worker): void {
    const { clock } = this.#options;
    const task = this.#read(entry, "run");
    if (task === undefined) return;
    this.#closeOrphan(entry);
    const { record } = this.#attempts.begin(entry, task, worker);
    worker.link?.announce(task.model);
    worker.link?.send(taskMessage(task, record.token, clock.now()));
    this.#records.sent(entry);
    this.#changed(entry);
  }

  /** The record, with its input when it is to be run. What cannot be read any more ends here, with the reason. */
  #read(entry: Entry, purpose: "run" | "end"): TaskRecord | undefined {
    const nowMs = this.#options.clock.now();
    try {
      return purpose === "run" ? this.#records.read(entry, nowMs) : this.#records.readRecord(entry, nowMs);
    } catch (error) {
      const known = asLegacyGpuError(error);
      this.#options.log.error({ err: known, taskId: entry.id }, "a stored task cannot be read");
      entry.task ??= this.#records.damaged(entry, nowMs);
      this.#settle(entry, "FAILED", { error: toWireError(known) });
      return undefined;
    }
  }

  #claimOne(worker: Worker, taskId: string, token: number): boolean {
    const entry = this.#entries.get(taskId as TaskId);
    if (entry?.attempt?.worker === worker && entry.attempt.record.token === token) return true;
    const isClaimable = entry !== undefined && this.#attempts.isClaimable(entry, worker, token);
    const task =
      isClaimable && (entry.heldBy ?? worker.id) === worker.id ? this.#read(entry, "end") : undefined;
    if (entry === undefined || task === undefined) {
      this.#options.counters.staleMessages += 1;
      return false;
    }
    this.#waiting.leave(entry);
    if (entry.trouble?.orphan?.record.token === token) entry.trouble.orphan = undefined;
    else this.#closeOrphan(entry);
    const { record } = this.#attempts.claim(entry, task, worker, token);
    entry.heldBy = undefined;
    this.#records.sent(entry);
    this.#options.counters.attemptsReclaimed += 1;
    if (record.acceptedAtMs !== undefined) this.#start(entry);
    this.#changed(entry);
    return true;
  }

  #start(entry: Entry): void {
    const { task, attempt } = entry;
    if (task === undefined || attempt === undefined) return;
    const nowMs = this.#options.clock.now();
    attempt.record.acceptedAtMs ??= nowMs;
    if (task.state === "RUNNING") return;
    transition(task, "RUNNING", nowMs);
    this.#running += 1;
  }

  #afterFailure(entry: Entry, task: TaskRecord, worker: Worker, error: WireError): void {
    const { clock, random } = this.#options;
    const trouble = entry.needTrouble;
    trouble.lastError = error;
    trouble.triedWorkerIds.add(worker.id);
    if (error.code === "out_of_memory")
      trouble.memoryBytesOver = Math.max(trouble.memoryBytesOver, worker.memoryBytes);
    const verdict = afterFailure(task, error, random);
    if (verdict.kind === "end") {
      task.isDeadLetter = verdict.isDeadLetter;
      this.#settle(entry, "FAILED", { error: verdict.error });
      return;
    }
    if (task.state === "RUNNING") {
      transition(task, "PENDING", clock.now());
      this.#running -= 1;
    }
    this.#changed(entry);
    trouble.isChargedRetry = verdict.isCharged;
    if (verdict.delayMs === 0 && !verdict.isCharged) this.#waiting.enter(entry, "front");
    else this.#waiting.park(entry, clock.now() + verdict.delayMs);
  }

  #liveEntry(worker: Worker, token: number): Entry | undefined {
    const entry = this.#attempts.find(worker, token);
    if (entry === undefined) this.#options.counters.staleMessages += 1;
    return entry;
  }

  #endAttempt(entry: Entry, outcome: AttemptOutcome, error?: WireError): void {
    const attempt = this.#attempts.release(entry);
    if (attempt === undefined) return;
    attempt.record.endedAtMs = this.#options.clock.now();
    attempt.record.outcome = outcome;
    attempt.record.error = error;
  }

  /** Ends the attempt from our side and tells the worker. */
  #withdraw(entry: Entry, outcome: AttemptOutcome, reason: string): void {
    const { attempt } = entry;
    if (attempt === undefined) return;
    attempt.worker.link?.send({ type: "cancel", taskId: entry.id, token: attempt.record.token, reason });
    this.#endAttempt(entry, outcome);
  }

  /** Nobody can have the lost attempt back any more. */
  #closeOrphan(entry: Entry): void {
    const orphan: Orphan | undefined = entry.trouble?.orphan;
    if (entry.trouble === undefined || orphan === undefined) return;
    entry.trouble.orphan = undefined;
    orphan.record.endedAtMs = orphan.lostAtMs;
    orphan.record.outcome = "worker_lost";
    orphan.record.error = orphan.error;
  }

  #deadlinePassed(entry: Entry): void {
    const task = this.#read(entry, "end");
    if (task === undefined) return;
    const isBegun = countedAttempts(task) > 0;
    const reason = this.view.explain(entry.id)?.reason;
    this.#withdraw(entry, "timed_out", "its deadline passed");
    const phase =
      task.state === "RUNNING" ? "while it ran" : isBegun ? "between two attempts" : "before it was started";
    const message = `The deadline passed ${phase}.${reason === undefined ? "" : ` ${reason}`}`;
    this.#settle(entry, "TIMED_OUT", { error: toWireError(fail("deadline_exceeded", message)) });
    this.dispatch();
  }

  #changed(entry: Entry): void {
    if (entry.isStored && entry.task !== undefined) this.#options.onChanged(entry.task);
  }

  #settle(entry: Entry, to: TaskState, how: { output?: TaskOutput; error?: WireError }): void {
    const task = this.#read(entry, "end");
    // Reading it has settled it.
    if (task === undefined || isFinal(task.state)) return;
    if (task.state === "RUNNING") this.#running -= 1;
    this.#closeOrphan(entry);
    this.#deadlines.remove(entry);
    this.#waiting.leave(entry);
    this.#entries.delete(task.id);
    this.#records.left(entry);
    this.#groups.remove(entry.group);
    task.output = how.output;
    task.error = how.error;
    transition(task, to, this.#options.clock.now());
    this.#throughput.ended();
    this.#options.counters.taskEnded(to, task.model.name, (task.completedAtMs ?? 0) - task.createdAtMs);
    this.#options.onSettled(task);
  }
}
