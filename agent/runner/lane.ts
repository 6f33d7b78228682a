/**
 * What one runner process has been handed, and what becomes of that. How the process is kept alive: `lane-process.ts`.
 *
 * The process answers in order, so the oldest command without an answer is the one it works on. What follows when that takes it over a limit or
 * kills it: `aftermath.ts`. Reports of a process that is being killed are still taken, unless the next one is to do better at the same work
 * (`second-chance.ts`).
 *
 * Several tasks may run as one; the process says so before it begins, and answers them one after the other. A task that is withdrawn from such a
 * batch is not waited for; the process is killed when that holds for all of them.
 */

import type { Clock, Random } from "@legacygpu/shared/clock";
import { LegacyGpuError } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import { Aftermath } from "./aftermath.ts";
import { BatchSizes } from "./batch-sizes.ts";
import type { GpuMemory, Tenant } from "./gpu-memory.ts";
import { Handed, type Load, type Run } from "./handed.ts";
import type { LocalModel, ModelEvent, Ticket } from "./job.ts";
import { LaneModels, type LoadReport } from "./lane-models.ts";
import { LaneProcess, type LaneState, type WorkReport } from "./lane-process.ts";
import type { LoadPlanner } from "./load-planner.ts";
import { LoadedModels } from "./loaded-models.ts";
import { type RunReport, settleAnswered, settleFailed } from "./outcomes.ts";
import type { RunnerExit, SpawnRunner } from "./process.ts";
import { limitOf } from "./run-limits.ts";
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
  /** @returns how many lanes are computing now. */
  countRuns(): number;
}

export class Lane implements Tenant {
  readonly #options: LaneOptions;
  readonly #events: LaneEvents;
  readonly #process: LaneProcess;
  readonly #watchdog: Watchdog;
  readonly #handed = new Handed();
  readonly #batchSizes: BatchSizes;
  readonly #loaded: LoadedModels;
  readonly #models: LaneModels;
  readonly #secondChance: SecondChance;
  readonly #aftermath: Aftermath;
  #seq = 0;
  #headSince = 0;
  #rssBytes = 0;

  constructor(options: LaneOptions, events: LaneEvents) {
    this.#options = options;
    this.#events = events;
    this.#loaded = new LoadedModels(options.clock, options.memory, this);
    this.#models = new LaneModels(options, {
      tenant: this,
      loaded: this.#loaded,
      handed: this.#handed,
      onModel: (event) => events.onModel(event),
    });
    this.#batchSizes = new BatchSizes(options.log);
    this.#secondChance = new SecondChance(options);
    const parts = { handed: this.#handed, batchSizes: this.#batchSizes, secondChance: this.#secondChance };
    this.#aftermath = new Aftermath(parts, events);
    this.#watchdog = new Watchdog(options.clock, () => this.#onLimit());
    this.#process = new LaneProcess(options, {
      onUp: () => this.#onUp(),
      onReport: (report) => this.#onReport(report),
      onGone: (exit, state) => this.#onGone(exit, state),
      onNext: () => this.#onNext(),
      onUseless: (failedStarts, error) => events.onUseless(failedStarts, error),
    });
    this.#process.start();
  }

  get state(): LaneState {
    return this.#process.state;
  }
  get load(): number {
    return this.#handed.length;
  }
  get rssBytes(): number {
    return this.#rssBytes;
  }
  /** Whether its process runs a task, or several as one. */
  get isComputing(): boolean {
    return this.state === "up" && this.#handed.head?.kind === "run";
  }
  get pid(): number | undefined {
    return this.#process.pid;
  }

  hasRoomFor(ticket: Ticket): boolean {
    const isUsable = this.state === "up" || this.state === "starting";
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
    this.#process.post({ type: "run", seq, modelKey: model.key, input, outputs });
    this.#push({ kind: "run", seq, ticket, share: this.#shareOf(ticket) });
  }

  /** Loads the model unless it is loaded or on its way. @returns why that cannot be. */
  prepare(model: LocalModel): LegacyGpuError | undefined {
    if (this.#loaded.has(model.key) || !this.#process.exists) return undefined;
    const plan = this.#models.plan(model);
    if (plan instanceof LegacyGpuError) return plan;
    const { providers, trusted, reportsMemory } = plan;
    const seq = this.#nextSeq();
    this.#process.post({
      type: "load",
      seq,
      modelKey: model.key,
      path: model.path,
      manifest: model.manifest,
      providers,
      trusted,
      reportsMemory,
      threads: this.#options.threads,
      maxRows: this.#batchSizes.learned(model.key),
    });
    this.#push({ kind: "load", seq, model });
    this.#events.onModel({ model, state: "loading" });
    return undefined;
  }

  unload(modelKey: string): void {
    if (this.#loaded.delete(modelKey)) this.#process.post({ type: "unload", modelKey });
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
    this.#process.post({ type: "unload", modelKey });
    this.#options.log.info({ model: modelKey, cause }, "a model is unloaded");
    this.#events.onModel({ model, state: "unloaded" });
  }

  /** Withdraws a ticket that is already settled: at once when it waits here, after `graceMs` by force when it runs. */
  withdraw(ticket: Ticket, graceMs: number): void {
    const run = this.#handed.find(ticket);
    if (run === undefined) return;
    const isRunning = this.state !== "starting" && this.#handed.together.includes(run);
    // Also one of a batch: should that fail, each of it is run alone.
    if (!isRunning || this.#handed.together.length > 1) this.#process.post({ type: "skip", seq: run.seq });
    if (!isRunning || ticket.mayFinish) return;
    if (graceMs <= 0) this.#killUnwanted(run, "a task was stopped");
    else this.#options.clock.after(graceMs, () => this.#killUnwanted(run, "a task was cancelled"));
  }

  /** Nobody is killed for it that others of its batch still wait for. */
  #killUnwanted(run: Run, cause: string): void {
    const { together } = this.#handed;
    if (together.includes(run) && together.every(({ ticket }) => ticket.state === "settled"))
      this.#process.kill(cause);
  }

  close(): Promise<void> {
    this.#watchdog.close();
    return this.#process.close();
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
    if (head === undefined || this.state !== "up") return;
    this.#headSince = this.#options.clock.monotonic();
    this.#watchdog.restart(limitOf(this.#handed, this.#options.executionLimitMs));
    const { together } = this.#handed;
    const concurrency = together.length === 0 ? 0 : this.#events.countRuns();
    for (const { ticket } of together) this.#begin(ticket, concurrency);
  }

  #begin(ticket: Ticket, concurrency: number): void {
    if (ticket.state !== "handed") return;
    ticket.state = "running";
    ticket.startedAt = this.#headSince;
    ticket.concurrency = concurrency;
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

  #shareOf(ticket: Ticket): number {
    return 1 / this.#batchSizes.of(ticket.job.model);
  }

  #onLimit(): void {
    const { head } = this.#handed;
    if (head === undefined || this.state !== "up") return;
    const limitMs = limitOf(this.#handed, this.#options.executionLimitMs);
    this.#process.kill("the execution limit");
    this.#aftermath.onLimit(head, limitMs);
  }

  #onUp(): void {
    this.#beginHead();
    this.#events.onRoom();
  }

  #onReport(report: WorkReport): void {
    if (report.type === "trying") {
      this.#secondChance.onTrying(report.provider);
      return;
    }
    if (report.type === "stats") {
      this.#rssBytes = report.rssBytes;
      return;
    }
    if (report.type === "batch_limit") {
      this.#batchSizes.learn(report.modelKey, report.maxRows, report.reason);
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
    this.#process.wasOfUse();
    if (this.#startsOver(head, report)) return;
    if (head.kind === "load" && report.type !== "done") this.#onLoad(head.model, report);
    if (head.kind === "run" && report.type !== "loaded") this.#onRun(head.ticket, report);
    this.#beginHead();
    this.#events.onRoom();
  }

  #outOfOrder(got: number | undefined): void {
    const expected = this.#handed.head?.seq;
    this.#options.log.error({ expected, got }, "the runner answered out of order");
    this.#process.kill("an answer out of order");
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

  #onLoad(model: LocalModel, report: LoadReport): void {
    this.#secondChance.onLoadEnded();
    this.#models.onAnswered(model, report);
  }

  #startsOver(head: Run | Load, report: RunnerReport): boolean {
    const { key } = head.kind === "load" ? head.model : head.ticket.job.model;
    if (this.state !== "up" || !this.#loaded.isOnGpu(key)) return false;
    if (!this.#secondChance.wantsMemory(this, head, report)) return false;
    this.#process.kill("the GPU has no memory left");
    return true;
  }

  #onRun(ticket: Ticket, report: RunReport): void {
    this.#loaded.touch(ticket.job.model.key);
    ticket.isSuspect = false;
    settleAnswered(ticket, report);
  }

  #onGone(exit: RunnerExit, state: LaneState): boolean {
    this.#loaded.clear();
    this.#watchdog.stop();
    if (state === "closed") return false;
    const wasBusy = this.#handed.head !== undefined;
    if (state === "up") {
      this.#options.log.warn(exit, "the runner died");
      this.#aftermath.onDeath(exit);
    } else this.#aftermath.onEnd();
    return wasBusy;
  }

  #onNext(): void {
    for (const model of this.#secondChance.takeModels()) this.prepare(model);
    this.#events.onRoom();
  }
}
