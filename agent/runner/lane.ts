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
 * that one is to blame; the others go back to the queue, unharmed. Reports of a process that is being killed are still taken.
 */

import { Backoff } from "@legacygpu/shared/backoff";
import type { Clock, Random, Timer } from "@legacygpu/shared/clock";
import { fail, fromWireError, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import { Handed, type Load, type Run } from "./handed.ts";
import type { LocalModel, ModelEvent, Ticket } from "./job.ts";
import { crashError, type RunnerExit, type RunnerProcess, type SpawnRunner } from "./process.ts";
import { Watchdog } from "./watchdog.ts";
import type { RunnerReport } from "./wire.ts";

export interface LaneOptions {
  readonly spawn: SpawnRunner;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly providers: readonly string[];
  readonly threads: number;
  readonly executionLimitMs: number;
}

export interface LaneEvents {
  /** There is room for more. */
  onRoom(): void;
  /** These must run again, before anything that waits. */
  onReturned(tickets: readonly Ticket[]): void;
  onModel(event: ModelEvent): void;
  /** The process has now died this often without being of use. */
  onUseless(failedStarts: number, error: LegacyGpuError): void;
}

export type LaneState = "starting" | "up" | "killing" | "resting" | "closed";

const RESTART = { baseMs: 200, capMs: 10_000 };
const LOAD_LIMIT_MS = 300_000;
/** One that was withdrawn is skipped at once, unless it had begun before word of that arrived; then nobody wants what it computes. */
const WITHDRAWN_LIMIT_MS = 500;

export class Lane {
  readonly #options: LaneOptions;
  readonly #events: LaneEvents;
  readonly #restart: Backoff;
  readonly #watchdog: Watchdog;
  readonly #handed = new Handed();
  readonly #loaded = new Set<string>();
  #state: LaneState = "resting";
  #process: RunnerProcess | undefined;
  #seq = 0;
  #failedStarts = 0;
  #headSince = 0;
  #timer: Timer | undefined;
  #rssBytes = 0;
  #onClosed: () => void = () => {};

  constructor(options: LaneOptions, events: LaneEvents) {
    this.#options = options;
    this.#events = events;
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
    return isUsable && this.#handed.hasRoomFor(ticket);
  }

  hand(ticket: Ticket): void {
    const { model, input, outputs } = ticket.job;
    this.prepare(model);
    const seq = this.#nextSeq();
    ticket.state = "handed";
    this.#process?.post({ type: "run", seq, modelKey: model.key, input, outputs });
    this.#push({ kind: "run", seq, ticket });
  }

  /** Loads the model unless it is loaded or on its way. */
  prepare(model: LocalModel): void {
    if (this.#loaded.has(model.key) || this.#process === undefined) return;
    const { providers, threads } = this.#options;
    const seq = this.#nextSeq();
    this.#loaded.add(model.key);
    this.#process.post({
      type: "load",
      seq,
      modelKey: model.key,
      path: model.path,
      manifest: model.manifest,
      providers,
      threads,
    });
    this.#push({ kind: "load", seq, model });
    this.#events.onModel({ model, state: "loading" });
  }

  unload(modelKey: string): void {
    if (this.#loaded.delete(modelKey)) this.#process?.post({ type: "unload", modelKey });
  }

  /** Withdraws a ticket that is already settled: at once when it waits here, after `graceMs` by force when it runs. */
  withdraw(ticket: Ticket, graceMs: number): void {
    const run = this.#handed.find(ticket);
    if (run === undefined) return;
    const isHead = run === this.#handed.head && this.#state !== "starting";
    if (!isHead) this.#process?.post({ type: "skip", seq: run.seq });
    else if (graceMs <= 0) this.#kill("a task was stopped");
    else
      this.#options.clock.after(
        graceMs,
        () => run === this.#handed.head && this.#kill("a task was cancelled"),
      );
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
    if (head.kind === "load" || head.ticket.state === "settled") return;
    const { ticket } = head;
    ticket.state = "running";
    ticket.startedAt = this.#headSince;
    if (!ticket.hasStarted) {
      ticket.hasStarted = true;
      ticket.job.onStarted();
    }
  }

  #limitOf(head: Run | Load): number {
    if (head.kind === "load") return LOAD_LIMIT_MS;
    const { state, job } = head.ticket;
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
    this.#blame(head, fail("execution_timeout", message, { limitMs }));
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
    if (report.type === "stats") {
      this.#rssBytes = report.rssBytes;
      return;
    }
    const { head } = this.#handed;
    if (head?.seq !== report.seq) {
      this.#options.log.error({ expected: head?.seq, got: report.seq }, "the runner answered out of order");
      this.#kill("an answer out of order");
      return;
    }
    this.#handed.shift(this.#workMs(report));
    this.#failedStarts = 0;
    this.#restart.reset();
    if (head.kind === "load") this.#onLoaded(head.model, report);
    else this.#onRun(head.ticket, report);
    this.#beginHead();
    this.#events.onRoom();
  }

  /**
   * What the answered command took of the runner's time. As the runner measured it, where it did: seen from here, waiting for a busy
   * processor looks like slow work, and little is handed ahead just when much should be.
   */
  #workMs(report: Extract<RunnerReport, { readonly seq: number }>): number {
    if (report.type !== "done") return this.#options.clock.monotonic() - this.#headSince;
    const { preprocessMs, executeMs, postprocessMs } = report.timings;
    return preprocessMs + executeMs + postprocessMs;
  }

  #onLoaded(model: LocalModel, report: RunnerReport): void {
    if (report.type === "failed") {
      this.#loaded.delete(model.key);
      this.#events.onModel({ model, state: "failed", error: fromWireError(report.error) });
    } else if (report.type === "loaded") {
      const { provider, passedOver, loadMs } = report;
      for (const reason of passedOver)
        this.#options.log.warn({ model: model.key, reason }, "a provider was passed over");
      for (const ticket of this.#handed.tickets())
        if (ticket.job.model.key === model.key) ticket.loadMs = loadMs;
      this.#events.onModel({ model, state: "ready", provider, loadMs });
    }
  }

  #onRun(ticket: Ticket, report: RunnerReport): void {
    ticket.isSuspect = false;
    if (ticket.state === "settled") return;
    ticket.state = "settled";
    if (report.type === "failed") ticket.job.onFailed(fromWireError(report.error));
    if (report.type !== "done") return;
    const { output, provider, timings } = report;
    const queuedMs = Math.max(0, ticket.startedAt - ticket.submittedAt - ticket.loadMs);
    const { preprocessMs, executeMs, postprocessMs } = timings;
    const { loadMs } = ticket;
    ticket.job.onDone({
      output,
      provider,
      timings: { queuedMs, loadMs, preprocessMs, executeMs, postprocessMs },
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
    if (before === "up" && head !== undefined) this.#blame(head, error);
    this.#giveBack(before === "up");
    if (before === "starting" || (before === "up" && head === undefined)) this.#rest(error);
    else this.#start();
    this.#events.onRoom();
  }

  /** What the process was working on is not tried again here. */
  #blame(head: Run | Load, error: LegacyGpuError): void {
    if (head.kind === "run") {
      settleFailed(head.ticket, error);
      return;
    }
    const failure = fail("model_load_failed", error.message, { ...error.details, cause: error.code });
    this.#events.onModel({ model: head.model, state: "failed", error: failure });
    for (const ticket of this.#handed.tickets())
      if (ticket.job.model.key === head.model.key) settleFailed(ticket, failure);
  }

  #giveBack(areSuspect: boolean): void {
    const tickets = this.#handed.tickets();
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

function settleFailed(ticket: Ticket, error: LegacyGpuError): void {
  if (ticket.state === "settled") return;
  ticket.state = "settled";
  ticket.job.onFailed(error);
}
