/**
 * The runner process of a lane, kept alive: started again when it has died, after a while when it dies before it is of use.
 *
 * | state    | holds                                     | leaves it                                             |
 * | -------- | ----------------------------------------- | ----------------------------------------------------- |
 * | starting | a process that has not said `ready`       | ready → up; exit → resting                            |
 * | up       | a process at work                         | a limit or a stop → killing; exit → starting, or resting when it had nothing to do |
 * | killing  | a process that we have killed             | exit → starting                                       |
 * | resting  | no process; it died without being of use  | after the backoff → starting                          |
 * | closed   | nothing                                   |                                                       |
 */

import { Backoff } from "@legacygpu/shared/backoff";
import type { Clock, Random, Timer } from "@legacygpu/shared/clock";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import { crashError, type RunnerExit, type RunnerProcess, type SpawnRunner } from "./process.ts";
import type { RunnerCommand, RunnerReport } from "./wire.ts";

export interface LaneProcessOptions {
  readonly spawn: SpawnRunner;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Whatever it says but that it is ready. */
export type WorkReport = Exclude<RunnerReport, { readonly type: "ready" }>;

export interface LaneProcessEvents {
  /** It takes commands to work on from now on. */
  onUp(): void;
  onReport(report: WorkReport): void;
  /** It is gone; `state` is what it was in. @returns whether it had been working on something. */
  onGone(exit: RunnerExit, state: LaneState): boolean;
  /** After that: the next one is there, or there is none for a while. Again when that while is over. */
  onNext(): void;
  /** It has now died this often without being of use. */
  onUseless(failedStarts: number, error: LegacyGpuError): void;
}

export type LaneState = "starting" | "up" | "killing" | "resting" | "closed";

const RESTART = { baseMs: 200, capMs: 10_000 };

export class LaneProcess {
  readonly #options: LaneProcessOptions;
  readonly #events: LaneProcessEvents;
  readonly #restart: Backoff;
  #state: LaneState = "resting";
  #process: RunnerProcess | undefined;
  #failedStarts = 0;
  #timer: Timer | undefined;
  #onClosed: () => void = () => {};

  constructor(options: LaneProcessOptions, events: LaneProcessEvents) {
    this.#options = options;
    this.#events = events;
    this.#restart = new Backoff(RESTART, options.random);
  }

  get state(): LaneState {
    return this.#state;
  }
  get pid(): number | undefined {
    return this.#process?.pid;
  }
  /** Whether there is a process, in whatever state. */
  get exists(): boolean {
    return this.#process !== undefined;
  }

  start(): void {
    this.#transition("starting", "a runner is needed");
    this.#process = this.#options.spawn({
      onReport: (report) => this.#onReport(report),
      onExit: (exit) => this.#onExit(exit),
    });
  }

  post(command: RunnerCommand): void {
    this.#process?.post(command);
  }

  /** It has answered: when it dies now, the next one need not wait. */
  wasOfUse(): void {
    this.#failedStarts = 0;
    this.#restart.reset();
  }

  /** The next one takes its place. */
  kill(cause: string): void {
    if (this.#state !== "up" && this.#state !== "starting") return;
    this.#transition("killing", cause);
    this.#process?.kill();
  }

  close(): Promise<void> {
    this.#timer?.cancel();
    const process = this.#process;
    this.#transition("closed", "the agent is closing");
    if (process === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onClosed = resolve;
      process.kill();
    });
  }

  #transition(to: LaneState, cause: string): void {
    const from = this.#state;
    this.#state = to;
    this.#options.log.debug({ from, to, cause, pid: this.#process?.pid }, "the runner changed state");
  }

  #onReport(report: RunnerReport): void {
    if (report.type !== "ready") {
      this.#events.onReport(report);
      return;
    }
    if (this.#state !== "starting") return;
    this.#transition("up", "it said that it is ready");
    this.#events.onUp();
  }

  #onExit(exit: RunnerExit): void {
    const before = this.#state;
    this.#process = undefined;
    const wasBusy = this.#events.onGone(exit, before);
    if (before === "closed") {
      this.#onClosed();
      return;
    }
    if (before === "killing" || (before === "up" && wasBusy)) this.start();
    else this.#rest(crashError(exit));
    this.#events.onNext();
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
      this.start();
      this.#events.onNext();
    });
    this.#events.onUseless(this.#failedStarts, error);
  }
}
