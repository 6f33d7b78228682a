/**
 * The life of a task between acceptance and its end: waits in the queue, is bound late to a worker with credit, and is settled once.
 *
 * Several workers may have a task at once: the first answer wins, and what fails meanwhile is only noted as long as somebody still has it. Every
 * attempt has a fencing token; an answer with a token that is not live changes nothing and is counted. Whatever frees a worker, brings
 * one or adds a task calls {@link Scheduler.dispatch}.
 */

import type { Clock, Random } from "@legacygpu/shared/clock";
import { fail, type LegacyGpuError, toWireError, type WireError } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import type { Logger } from "@legacygpu/shared/log";
import type { AttemptTimings, TaskOutput } from "@legacygpu/shared/protocol/messages";
import type { CopyPurpose } from "@legacygpu/shared/task";
import type { Strategy } from "../balancers/strategy.ts";
import type { Choice } from "../dispatch/choice.ts";
import type { Counters } from "../metrics.ts";
import type { Registry } from "../registry/registry.ts";
import type { Worker } from "../registry/worker.ts";
import { countedAttempts, type TaskRecord } from "../tasks/record.ts";
import { Answers } from "./answers.ts";
import { AttemptEnds, type AttemptEvents } from "./attempt-ends.ts";
import { AttemptTable } from "./attempt-table.ts";
import { Choices } from "./choices.ts";
import { Dispatching } from "./dispatching.ts";
import { type Attempt, Entry, factsOf, type RestoredTask } from "./entry.ts";
import type { Groups } from "./groups.ts";
import { Ledger } from "./ledger.ts";
import type { StoredTasks } from "./records.ts";
import { OPEN_GATE, type ReplicaGate } from "./replica-gate.ts";
import type { MaxBatchOf } from "./scheduled-worker.ts";
import { taskMessage } from "./task-message.ts";
import { TaskView } from "./task-view.ts";
import { WaitingRoom } from "./waiting-room.ts";

export interface SchedulerOptions extends AttemptEvents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly registry: Registry;
  /** Which strategy decides about a model, by its name. */
  readonly strategyFor: (model: string) => Strategy;
  /** Default: no tasks run as one. */
  readonly maxBatchOf?: MaxBatchOf | undefined;
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
  readonly #ledger: Ledger;
  readonly #attempts: AttemptTable;
  readonly #ends: AttemptEnds;
  /** Workers as the dispatcher knows them. */
  readonly dispatching: Dispatching;
  readonly #answers: Answers;
  readonly #gate: ReplicaGate;
  readonly #choices = new Choices();
  /** How everything stands, for those who only look. */
  readonly view: TaskView;

  constructor(options: SchedulerOptions) {
    const { clock, log, counters, stored } = options;
    this.#options = options;
    this.#gate = options.gate ?? OPEN_GATE;
    this.#attempts = new AttemptTable(clock, options.firstToken);
    this.#ledger = new Ledger({
      clock,
      log,
      counters,
      stored,
      onDeadline: (entry) => this.#deadlinePassed(entry),
      onLeaving: (entry) => {
        this.#ends.closeOrphan(entry);
        this.#waiting.leave(entry);
      },
      onChanged: (task) => options.onChanged(task),
      onSettled: (task) => options.onSettled(task),
    });
    this.dispatching = new Dispatching({
      clock,
      random: options.random,
      registry: options.registry,
      groups: this.#ledger.groups,
      gate: this.#gate,
      strategyFor: options.strategyFor,
      maxBatchOf: options.maxBatchOf ?? (() => 1),
      waitingIn: (group) => this.#waiting.countIn(group),
      copy: (entry, worker, purpose) => this.#copy(entry, worker, purpose),
      wake: () => this.dispatch(),
    });
    this.#ends = new AttemptEnds(clock, this.#attempts, this.dispatching, options);
    this.#waiting = new WaitingRoom({
      clock,
      random: options.random,
      begin: (waiting) => this.dispatching.beginRound(waiting),
      end: () => this.dispatching.endRound(),
      choose: (entry) => this.#choose(entry),
      send: (entry, worker) => this.#send(entry, worker),
    });
    this.#answers = new Answers(options, {
      ledger: this.#ledger,
      attempts: this.#attempts,
      ends: this.#ends,
      waiting: this.#waiting,
      dispatching: this.dispatching,
    });
    this.view = new TaskView({
      clock,
      registry: options.registry,
      ledger: this.#ledger,
      attempts: this.#attempts,
      waiting: this.#waiting,
      gate: this.#gate,
      choiceOf: (id) => this.#choiceOf(id),
    });
  }

  get pendingCount(): number {
    return this.#ledger.pendingCount;
  }

  get runningCount(): number {
    return this.#ledger.runningCount;
  }

  /** Attempts that nobody waits for any more, and that still keep a worker busy. */
  get supersededCount(): number {
    return this.#attempts.supersededCount;
  }

  /** The queue that waits, by group, and which of it is held back. */
  get groups(): Groups {
    return this.#ledger.groups;
  }

  /** @param isStored the store has them: their records need not stay in memory. */
  submit(tasks: readonly TaskRecord[], { isStored }: { readonly isStored: boolean }): void {
    const { groups, records } = this.#ledger;
    const entries = tasks.map((task) => {
      const entry = new Entry(factsOf(task, groups.nameFor(task)), task, isStored);
      records.entered(entry);
      this.#ledger.enter(entry);
      this.dispatching.entered(entry);
      // Also while everybody is busy with other models, and nothing is offered.
      this.#isStarved(entry);
      this.#waiting.enter(entry, "back");
      return entry;
    });
    this.dispatch();
    // What could go at once has not read the disk, however much waits for others.
    if (isStored) for (const entry of entries) records.nowWaits(entry);
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
    this.#ledger.enter(entry);
    if (pending.heldBy === undefined) this.#waiting.enter(entry, "back");
    else this.#waiting.park(entry, clock.now() + leaseMs);
  }

  /**
   * @param known the task as it is stored, if the caller has just read it.
   * @returns false when the task has already ended.
   */
  cancel(id: TaskId, reason: string, known?: TaskRecord): boolean {
    const entry = this.#ledger.get(id);
    if (entry === undefined) return false;
    if (entry.task === undefined && known !== undefined)
      this.#ledger.records.remember(entry, known, this.#options.clock.now());
    this.#ends.withdraw(entry, "cancelled", reason);
    this.#ledger.settle(entry, "CANCELLED", { error: toWireError(fail("task_cancelled", reason)) });
    this.dispatch();
    return true;
  }

  /** The task can never be completed any more: it fails now, wherever it is. @returns false when it has already ended. */
  abandon(id: TaskId, error: LegacyGpuError): boolean {
    const entry = this.#ledger.get(id);
    if (entry === undefined) return false;
    this.#ends.withdraw(entry, "cancelled", error.message);
    this.#ledger.settle(entry, "FAILED", { error: toWireError(error) });
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

  /**
   * Begins another attempt of a task that a worker has already; the first answer wins.
   *
   * @returns false when nobody has the task, this worker has it, or it cannot be sent.
   */
  copy(id: TaskId, worker: Worker, purpose: CopyPurpose): boolean {
    const entry = this.#ledger.get(id);
    return entry !== undefined && this.#copy(entry, worker, purpose);
  }

  /** Of the attempts that a worker says it holds: those that it may go on with. */
  claim(worker: Worker, held: readonly { readonly taskId: string; readonly token: number }[]): number[] {
    return held
      .filter(({ taskId, token }) => this.#claimOne(worker, taskId as TaskId, token))
      .map(({ token }) => token);
  }

  /** The worker began to run the attempt. */
  accepted(worker: Worker, token: number): void {
    this.#answers.accepted(worker, token);
  }

  completed(worker: Worker, token: number, output: TaskOutput, timings: AttemptTimings): void {
    this.#answers.completed(worker, token, output, timings);
  }

  failed(worker: Worker, token: number, error: WireError): void {
    this.#answers.failed(worker, token, error);
  }

  /** The worker is done with an attempt that was superseded. */
  released(worker: Worker, token: number, timings: AttemptTimings | undefined): void {
    this.#answers.released(worker, token, timings);
  }

  /** The worker will not answer for these any more, unless it comes back before somebody else has begun them. */
  lost(worker: Worker, tokens: readonly number[], cause: string): void {
    this.#answers.lost(worker, tokens, cause);
    this.dispatch();
  }

  close(): void {
    this.#ledger.close();
    this.#waiting.close();
    this.dispatching.close();
    this.#attempts.clear();
  }

  // ---- the ways of an entry

  #choose(entry: Entry): Worker | undefined {
    const { groups } = this.#ledger;
    if (groups.isPaused(entry.group)) return undefined;
    return this.#isStarved(entry) ? undefined : this.dispatching.choose(entry);
  }

  /** Its model is deployed, and nobody has loaded it; whoever sees to that is told. */
  #isStarved(entry: Entry): boolean {
    const { model } = this.#ledger.groups.requirements(entry.group);
    if (this.#gate.replicasOf(model)?.size !== 0) return false;
    this.#gate.starved(model);
    return true;
  }

  #send(entry: Entry, worker: Worker): void {
    const task = this.#ledger.read(entry, "run");
    if (task === undefined) return;
    this.#ends.closeOrphan(entry);
    this.#begin(entry, task, worker);
  }

  #copy(entry: Entry, worker: Worker, purpose: CopyPurpose): boolean {
    if (entry.live.length === 0 || worker.link === undefined) return false;
    if (entry.live.some((attempt) => attempt.worker === worker)) return false;
    const task = this.#ledger.readAgain(entry);
    if (task === undefined) return false;
    this.#begin(entry, task, worker, purpose);
    return true;
  }

  /** Of a task that waits, how it looks now; of one that was sent, as it was when it was sent, if that was to be remembered. */
  #choiceOf(id: TaskId): Choice | undefined {
    const entry = this.#ledger.get(id);
    const isWaiting = entry !== undefined && entry.live.length === 0;
    return isWaiting ? this.dispatching.explain(entry, undefined) : this.#choices.of(id);
  }

  #begin(entry: Entry, task: TaskRecord, worker: Worker, purpose?: CopyPurpose): void {
    const isRetry = task.attempts.length > 0;
    if (task.wantsChoice && purpose === undefined)
      this.#choices.remember(entry.id, this.dispatching.explain(entry, worker));
    const attempt = this.#attempts.begin(entry, task, worker, purpose);
    worker.link?.announce(task.model);
    worker.link?.send(taskMessage(task, attempt.record.token, this.#options.clock.now()));
    this.#ledger.records.sent(entry);
    this.#ledger.changed(entry);
    // Last: a copy may follow from it.
    attempt.flight = this.dispatching.sent(entry, worker, purpose ?? (isRetry ? "retry" : "first"));
  }

  #claimOne(worker: Worker, taskId: TaskId, token: number): boolean {
    if (this.#attempts.find(worker, token)?.entry.id === taskId) return true;
    const entry = this.#ledger.get(taskId);
    const attempt = entry === undefined ? undefined : this.#reclaim(entry, worker, token);
    if (entry === undefined || attempt === undefined) {
      this.#options.counters.staleMessages += 1;
      return false;
    }
    this.#waiting.leave(entry);
    if (entry.trouble?.orphan?.record.token === token) entry.trouble.orphan = undefined;
    else this.#ends.closeOrphan(entry);
    entry.heldBy = undefined;
    attempt.flight = this.dispatching.sent(entry, worker, "retry");
    this.#ledger.records.sent(entry);
    this.#options.counters.attemptsReclaimed += 1;
    this.#ledger.follow(entry);
    this.#ledger.changed(entry);
    return true;
  }

  #reclaim(entry: Entry, worker: Worker, token: number): Attempt | undefined {
    if (!this.#attempts.isClaimable(entry, worker, token)) return undefined;
    const task = this.#ledger.read(entry, "end");
    return task === undefined ? undefined : this.#attempts.claim(entry, task, worker, token);
  }

  #deadlinePassed(entry: Entry): void {
    const task = this.#ledger.read(entry, "end");
    if (task === undefined) return;
    const isBegun = countedAttempts(task) > 0;
    const reason = this.view.explain(entry.id)?.reason;
    this.#ends.withdraw(entry, "timed_out", "its deadline passed");
    const phase =
      task.state === "RUNNING" ? "while it ran" : isBegun ? "between two attempts" : "before it was started";
    const message = `The deadline passed ${phase}.${reason === undefined ? "" : ` ${reason}`}`;
    this.#ledger.settle(entry, "TIMED_OUT", { error: toWireError(fail("deadline_exceeded", message)) });
    this.dispatch();
  }
}
