/**
 * One runner process, kept alive, and what it has been handed.
 *
 * | state    | holds                                     | leaves it                                             |
 * | -------- | ----------------------------------------- | ----------------------------------------------------- |
 * | starting | a process that has not said `ready`       | ready → up; exit → resting                            |
 * | up       | a process at work                         | a limit or a stop → killing; exit → starting, or resting when it had nothing to do |
 * | killing  | a process that we have killed             | exit → starting                                       |
 * | resting  | no process; it died without being of use  | after the backoff → starting                          |
 * | closed   | nothing                                   |                                                       |
 *
 * The process answers in order, so the oldest command without an answer is the one it works on. When the process dies by itself
 * that one is to blame; the others go back to the queue, unharmed. Reports of a process that is being killed are still taken, unless the next
 * one is to do better at the same work (`second-chance.ts`).
 *
 * Several tasks may run as one; the process says so before it begins, and answers them one after the other. Such a batch may take as long as the
 * most patient of its tasks. When it takes longer, or the process dies of it, nobody knows who is to blame: all of them run again, alone.
 * A task that is withdrawn from a batch is not waited for; the process is killed when that holds for all of them.
 */

import { Backoff } from "@legacygpu/shared/backoff";
import type { Clock, Random, Timer } from "@legacygpu/shared/clock";
import { asLegacyGpuError, fail, fromWireError, LegacyGpuError } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import { BatchSizes } from "./batch-sizes.ts";
import type { GpuMemory, Tenant } from "./gpu-memory.ts";
import { Handed, type Load, type Run } from "./handed.ts";
import type { LocalModel, ModelEvent, Ticket } from "./job.ts";
import type { LoadPlan, LoadPlanner } from "./load-planner.ts";
import { LoadedModels } from "./loaded-models.ts";
import { crashError, type RunnerExit, type RunnerProcess, type SpawnRunner } from "./process.ts";
import { SecondChance } from "./second-chance.ts";
import type { SelfTestRecord } from "./self-test-record.ts";
import { Watchdog } from "./watchdog.ts";
import type { RunnerReport } from "./wire.ts";

export interface LaneOptions {
  readonly spawn: SpawnRunner;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly planner: LoadPlanner;
  readonly memory: GpuMemory;
  readonly selfTests: SelfTestRecord;
  readonly threads: number;
  readonly executionLimitMs: number;
}

export interface LaneEvents {
  /** There is room for more. */
  onRoom(): void;
  /** These must run again, before anything that waits. */
  onReturned(tickets: readonly Ticket[]): void;
  onModel(event: ModelEvent): void;
  /** The process died by itself while it worked on the model. */
  onCrashed(model: LocalModel, exit: RunnerExit): void;
  /** The process has now died this often without being of use. */
  onUseless(failedStarts: number, error: LegacyGpuError): void;
}

export type LaneState = "starting" | "up" | "killing" | "resting" | "closed";

const RESTART = { baseMs: 200, capMs: 10_000 };
const LOAD_LIMIT_MS = 300_000;
/** One that was withdrawn is skipped at once, unless it had begun before word of that arrived; then nobody wants what it computes. */
const WITHDRAWN_LIMIT_MS = 500;

export class Lane implements Tenant {
  readonly #options: LaneOptions;
  readonly #events: LaneEvents;
  readonly #restart: Backoff;
  readonly #watchdog: Watchdog;
  readonly #handed = new Handed();
  readonly #batchSizes = new BatchSizes();
  readonly #loaded: LoadedModels;
  #state: LaneState = "resting";
  #process: RunnerProcess | undefined;
  #seq = 0;
  #failedStarts = 0;
  #headSince = 0;
  #timer: Timer | undefined;
  #rssBytes = 0;
  readonly #secondChance: SecondChance;
  #onClosed: () => void = () => {};

  constructor(options: LaneOptions, events: LaneEvents) {
    this.#options = options;
    this.#events = events;
    this.#loaded = new LoadedModels(options.clock, options.memory, this);
    this.#secondChance = new SecondChance(options);
    this.#restart = new Backoff(RESTART, options.random);
    this.#watchdog = new Watchdog(options.clock, () => this.#onLimit());
    this.#start();
  }

  get state(): LaneState {
    return this.#state;
  }
  get load(): number {
    return this.#handed.length;
  }
  get rssBytes(): number {
    return this.#rssBytes;
  }
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  hasRoomFor(ticket: Ticket): boolean {
    const isUsable = this.#state === "up" || this.#state === "starting";
    return isUsable && this.#handed.hasRoomFor(ticket, this.#shareOf(ticket));
  }

  hand(ticket: Ticket): void {
    const { model, input, outputs } = ticket.job;
    const refusal = this.prepare(model);
    if (refusal !== undefined) {
      settleFailed(ticket, refusal);
      return;
    }
    this.#loaded.touch(model.key);
    const seq = this.#nextSeq();
    ticket.state = "handed";
    this.#process?.post({ type: "run", seq, modelKey: model.key, input, outputs });
    this.#push({ kind: "run", seq, ticket, share: this.#shareOf(ticket) });
  }

  /** Loads the model unless it is loaded or on its way. @returns why that cannot be. */
  prepare(model: LocalModel): LegacyGpuError | undefined {
    if (this.#loaded.has(model.key) || this.#process === undefined) return undefined;
    const { planner, threads } = this.#options;
    const plan = planned(planner, model, this);
    if (plan instanceof LegacyGpuError) {
      this.#events.onModel({ model, state: "failed", error: plan });
      return plan;
    }
    const { providers, trusted, reportsMemory } = plan;
    const seq = this.#nextSeq();
    this.#loaded.add(model, plan);
    this.#process.post({
      type: "load",
      seq,
      modelKey: model.key,
      path: model.path,
      manifest: model.manifest,
      providers,
      trusted,
      reportsMemory,
      threads,
      maxRows: this.#batchSizes.learned(model.key),
    });
    this.#push({ kind: "load", seq, model });
    this.#events.onModel({ model, state: "loading" });
    return undefined;
  }

  unload(modelKey: string): void {
    if (this.#loaded.delete(modelKey)) this.#process?.post({ type: "unload", modelKey });
  }

  hasLoaded(modelKey: string): boolean {
    return this.#loaded.has(modelKey);
  }

  isIdle(modelKey: string): boolean {
    return !this.#handed.holds(modelKey);
  }

  evict(modelKey: string, cause: string): void {
    const model = this.#loaded.delete(modelKey);
    if (model === undefined) return;
    this.#process?.post({ type: "unload", modelKey });
    this.#options.log.info({ model: modelKey, cause }, "a model is unloaded");
    this.#events.onModel({ model, state: "unloaded" });
  }

  /** Withdraws a ticket that is already settled: at once when it waits here, after `graceMs` by force when it runs. */
  withdraw(ticket: Ticket, graceMs: number): void {
    const run = this.#handed.find(ticket);
    if (run === undefined) return;
    const isRunning = this.#state !== "starting" && this.#handed.together.includes(run);
    // Also one of a batch: should that fail, each of it is run alone.
    if (!isRunning || this.#handed.together.length > 1) this.#process?.post({ type: "skip", seq: run.seq });
    if (!isRunning) return;
    if (graceMs <= 0) this.#killUnwanted(run, "a task was stopped");
    else this.#options.clock.after(graceMs, () => this.#killUnwanted(run, "a task was cancelled"));
  }

  /** Nobody is killed for it that others of its batch still wait for. */
  #killUnwanted(run: Run, cause: string): void {
    const { together } = this.#handed;
    if (together.includes(run) && together.every(({ ticket }) => ticket.state === "settled"))
      this.#kill(cause);
  }

  close(): Promise<void> {
    this.#timer?.cancel();
    this.#watchdog.close();
    const process = this.#process;
    this.#transition("closed", "the agent is closing");
    if (process === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onClosed = resolve;
      process.kill();
    });
  }

  #start(): void {
    this.#transition("starting", "a runner is needed");
    this.#process = this.#options.spawn({
      onReport: (report) => this.#onReport(report),
      onExit: (exit) => this.#onExit(exit),
    });
  }

  #transition(to: LaneState, cause: string): void {
    const from = this.#state;
    this.#state = to;
    this.#options.log.debug({ from, to, cause, pid: this.#process?.pid }, "the runner changed state");
  }

  #nextSeq(): number {
    this.#seq += 1;
    return this.#seq;
  }

  #push(entry: Run | Load): void {
    this.#handed.push(entry);
    if (this.#handed.length === 1) this.#beginHead();
  }

  /** The oldest command is now what the process works on. */
  #beginHead(): void {
    const { head } = this.#handed;
    if (head === undefined) this.#watchdog.stop();
    if (head === undefined || this.#state !== "up") return;
    this.#headSince = this.#options.clock.monotonic();
    this.#watchdog.restart(this.#limitOf(head));
    for (const { ticket } of this.#handed.together) this.#begin(ticket);
  }

  #begin(ticket: Ticket): void {
    if (ticket.state !== "handed") return;
    ticket.state = "running";
    ticket.startedAt = this.#headSince;
    if (!ticket.hasStarted) {
      ticket.hasStarted = true;
      ticket.job.onStarted();
    }
  }

  /** The process has begun a batch, or goes on task by task with one that has failed: with the first of it. */
  #onBatch(seqs: readonly number[], rows: number): void {
    for (const { ticket } of this.#handed.together) if (ticket.state === "running") ticket.state = "handed";
    if (this.#handed.bringForward(seqs, rows)) this.#beginHead();
    else this.#outOfOrder(seqs[0]);
  }

  #onBatchLimit(modelKey: string, maxRows: number, reason: string): void {
    this.#batchSizes.learn(modelKey, maxRows);
    this.#logBatchLimit(modelKey, maxRows, reason);
  }

  #logBatchLimit(modelKey: string, maxRows: number, reason: string): void {
    const what = maxRows > 1 ? "a model is run in smaller batches" : "a model is not run in batches any more";
    this.#options.log.warn({ model: modelKey, maxRows, reason }, what);
  }

  #shareOf(ticket: Ticket): number {
    return 1 / this.#batchSizes.of(ticket.job.model);
  }

  #limitOf(head: Run | Load): number {
    if (head.kind === "load") return LOAD_LIMIT_MS;
    return Math.max(...this.#handed.together.map(({ ticket }) => this.#runLimitOf(ticket)));
  }

  #runLimitOf({ state, job }: Ticket): number {
    if (state === "settled") return WITHDRAWN_LIMIT_MS;
    const { executionLimitMs } = this.#options;
    return Math.min(job.executionLimitMs ?? executionLimitMs, executionLimitMs);
  }

  #onLimit(): void {
    const { head } = this.#handed;
    if (head === undefined || this.#state !== "up") return;
    const limitMs = this.#limitOf(head);
    const message = `It ran longer than ${limitMs / 1000} s and was stopped.`;
    this.#kill("the execution limit");
    if (head.kind === "load" && this.#secondChance.blamesProvider(head, message)) return;
    if (!this.#suspectBatch(message)) this.#blame(head, fail("execution_timeout", message, { limitMs }));
  }

  #kill(cause: string): void {
    if (this.#state !== "up" && this.#state !== "starting") return;
    this.#transition("killing", cause);
    this.#process?.kill();
  }

  #onReport(report: RunnerReport): void {
    if (report.type === "ready") {
      if (this.#state !== "starting") return;
      this.#transition("up", "it said that it is ready");
      this.#beginHead();
      this.#events.onRoom();
      return;
    }
    if (report.type === "trying") {
      this.#secondChance.onTrying(report.provider);
      return;
    }
    if (report.type === "stats") {
      this.#rssBytes = report.rssBytes;
      return;
    }
    if (report.type === "batch_limit") {
      this.#onBatchLimit(report.modelKey, report.maxRows, report.reason);
      return;
    }
    // Whatever it says now is computed once more by the next process.
    if (this.#secondChance.isDue) return;
    if (report.type === "batch") {
      this.#onBatch(report.seqs, report.rows);
      return;
    }
    const { head } = this.#handed;
    if (head?.seq !== report.seq) {
      this.#outOfOrder(report.seq);
      return;
    }
    this.#handed.shift(this.#workMs(report));
    this.#failedStarts = 0;
    this.#restart.reset();
    if (this.#startsOver(head, report)) return;
    if (head.kind === "load") this.#onLoaded(head.model, report);
    else this.#onRun(head.ticket, report);
    this.#beginHead();
    this.#events.onRoom();
  }

  #outOfOrder(got: number | undefined): void {
    const expected = this.#handed.head?.seq;
    this.#options.log.error({ expected, got }, "the runner answered out of order");
    this.#kill("an answer out of order");
  }

  /**
   * What the answered command took of the runner's time. As the runner measured it, where it did: seen from here, waiting for a busy
   * processor looks like slow work, and little is handed ahead just when much should be.
   */
  #workMs(report: Extract<RunnerReport, { readonly seq: number }>): number {
    if (report.type !== "done") return this.#options.clock.monotonic() - this.#headSince;
    const { preprocessMs, executeMs, postprocessMs, batchSize = 1 } = report.timings;
    return (preprocessMs + executeMs + postprocessMs) / batchSize;
  }

  #onLoaded(model: LocalModel, report: RunnerReport): void {
    this.#secondChance.onLoadEnded();
    if (report.type === "failed") {
      const error = fromWireError(report.error);
      this.#loaded.delete(model.key);
      this.#events.onModel({ model, state: "failed", error });
      for (const ticket of this.#handed.tickets())
        if (ticket.job.model.key === model.key) settleFailed(ticket, error);
    } else if (report.type === "loaded") {
      const { provider, loadMs, warmUpMs } = report;
      for (const tested of report.tests ?? []) this.#options.selfTests.note(model.key, tested);
      // Unloaded since it was asked for.
      if (!this.#loaded.has(model.key)) return;
      const passedOver = [...this.#loaded.ready(model.key, provider), ...report.passedOver];
      for (const reason of passedOver)
        this.#options.log.warn({ model: model.key, reason }, "a provider was passed over");
      for (const ticket of this.#handed.tickets())
        if (ticket.job.model.key === model.key) ticket.loadMs = loadMs;
      this.#events.onModel({ model, state: "ready", provider, loadMs, warmUpMs, passedOver });
    }
  }

  #startsOver(head: Run | Load, report: RunnerReport): boolean {
    const { key } = head.kind === "load" ? head.model : head.ticket.job.model;
    if (this.#state !== "up" || !this.#loaded.isOnGpu(key)) return false;
    if (!this.#secondChance.wantsMemory(this, head, report)) return false;
    this.#kill("the GPU has no memory left");
    return true;
  }

  #onRun(ticket: Ticket, report: RunnerReport): void {
    this.#loaded.touch(ticket.job.model.key);
    ticket.isSuspect = false;
    if (ticket.state === "settled") return;
    ticket.state = "settled";
    if (report.type === "failed") ticket.job.onFailed(fromWireError(report.error));
    if (report.type !== "done") return;
    const { output, provider, timings } = report;
    const queuedMs = Math.max(0, ticket.startedAt - ticket.submittedAt - ticket.loadMs);
    const { preprocessMs, executeMs, postprocessMs, batchSize } = timings;
    const { loadMs } = ticket;
    ticket.job.onDone({
      output,
      provider,
      timings: { queuedMs, loadMs, preprocessMs, executeMs, postprocessMs, batchSize },
    });
  }

  #onExit(exit: RunnerExit): void {
    const before = this.#state;
    this.#process = undefined;
    this.#loaded.clear();
    this.#watchdog.stop();
    if (before === "closed") {
      this.#onClosed();
      return;
    }
    const error = crashError(exit);
    if (before === "up") this.#options.log.warn(exit, "the runner died");
    const { head } = this.#handed;
    const isDriver =
      before === "up" && head?.kind === "load" && this.#secondChance.blamesProvider(head, error.message);
    this.#secondChance.onLoadEnded();
    if (before === "up" && head !== undefined && !isDriver && !this.#suspectBatch(error.message)) {
      this.#blame(head, error);
      this.#events.onCrashed(head.kind === "load" ? head.model : head.ticket.job.model, exit);
    }
    this.#giveBack(before === "up" && !isDriver);
    if (before === "starting" || (before === "up" && head === undefined)) this.#rest(error);
    else this.#start();
    for (const model of this.#secondChance.takeModels()) this.prepare(model);
    this.#events.onRoom();
  }

  /** What the process was working on is not tried again here. */
  #blame(head: Run | Load, error: LegacyGpuError): void {
    if (head.kind === "run") {
      this.#batchSizes.acquit(head.ticket.job.model.key);
      settleFailed(head.ticket, error);
      return;
    }
    const failure = fail("model_load_failed", error.message, { ...error.details, cause: error.code });
    this.#events.onModel({ model: head.model, state: "failed", error: failure });
    for (const ticket of this.#handed.tickets())
      if (ticket.job.model.key === head.model.key) settleFailed(ticket, failure);
  }

  /** Of a batch nobody knows who is to blame. @returns false when the process worked on one thing only. */
  #suspectBatch(reason: string): boolean {
    const { together, rowsTogether } = this.#handed;
    const [first, ...others] = together;
    if (first === undefined || others.length === 0) return false;
    for (const { ticket } of together) ticket.isSuspect = true;
    const { key } = first.ticket.job.model;
    this.#logBatchLimit(key, this.#batchSizes.ended(key, rowsTogether), reason);
    return true;
  }

  #giveBack(areSuspect: boolean): void {
    const tickets = [...this.#secondChance.takeTickets(), ...this.#handed.tickets()];
    this.#handed.clear();
    for (const ticket of tickets) {
      ticket.state = "waiting";
      ticket.isSuspect ||= areSuspect;
    }
    this.#events.onReturned(tickets);
  }

  #rest(error: LegacyGpuError): void {
    this.#failedStarts += 1;
    this.#transition("resting", "it died before it was of use");
    const delayMs = this.#restart.nextMs();
    this.#options.log.error(
      { err: error, delayMs, failedStarts: this.#failedStarts },
      "the runner does not start",
    );
    this.#timer = this.#options.clock.after(delayMs, () => {
      this.#start();
      this.#events.onRoom();
    });
    this.#events.onUseless(this.#failedStarts, error);
  }
}

function planned(planner: LoadPlanner, model: LocalModel, tenant: Tenant): LoadPlan | LegacyGpuError {
  try {
    return planner.plan(model, tenant);
  } catch (error) {
    return asLegacyGpuError(error);
  }
}

function settleFailed(ticket: Ticket, error: LegacyGpuError): void {
  if (ticket.state === "settled") return;
  ticket.state = "settled";
  ticket.job.onFailed(error);
}
