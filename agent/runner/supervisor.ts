/** The queue in front of the runner processes: hands out jobs in order, takes back what a dead process held. */

import type { Clock, Random } from "@legacygpu/shared/clock";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import type { Job, LocalModel, ModelEvent, Ticket } from "./job.ts";
import { Lane, type LaneState } from "./lane.ts";
import type { SpawnRunner } from "./process.ts";

export interface SupervisorOptions {
  readonly spawn: SpawnRunner;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Tasks that run at a time: as many processes. */
  readonly slots: number;
  /** Cores of this machine, divided among the slots. */
  readonly cores: number;
  readonly providers: readonly string[];
  readonly executionLimitMs: number;
  onModel(event: ModelEvent): void;
}

export interface SupervisorStatus {
  readonly running: number;
  readonly queued: number;
  readonly runners: readonly { readonly state: LaneState; readonly pid: number | undefined }[];
  /** Memory of the runner processes, as they last reported it. */
  readonly rssBytes: number;
}

/** After so many fruitless starts in a row nobody should wait for this runner. */
const GIVE_UP_AFTER = 5;

export class Supervisor {
  readonly #clock: Clock;
  readonly #lanes: readonly Lane[];
  #queue: Ticket[] = [];

  constructor(options: SupervisorOptions) {
    this.#clock = options.clock;
    const threads = Math.max(1, Math.floor(options.cores / options.slots));
    const events = {
      onRoom: () => this.#handOut(),
      onReturned: (tickets: readonly Ticket[]) => this.#queue.unshift(...tickets),
      onModel: (event: ModelEvent) => options.onModel(event),
      onUseless: (failedStarts: number, error: LegacyGpuError) => this.#onUseless(failedStarts, error),
    };
    this.#lanes = Array.from({ length: options.slots }, () => new Lane({ ...options, threads }, events));
  }

  submit(job: Job): Ticket {
    const submittedAt = this.#clock.monotonic();
    const ticket: Ticket = {
      job,
      submittedAt,
      state: "waiting",
      hasStarted: false,
      isSuspect: false,
      startedAt: submittedAt,
      loadMs: 0,
    };
    this.#queue.push(ticket);
    this.#handOut();
    return ticket;
  }

  /**
   * Nothing more is reported for this job. One that runs is given `graceMs` to end by itself, so that the model
   * need not be loaded again, and then its process is killed.
   */
  stop(ticket: Ticket, graceMs: number): void {
    const { state } = ticket;
    ticket.state = "settled";
    if (state === "waiting") this.#queue = this.#queue.filter((waiting) => waiting !== ticket);
    else if (state !== "settled") for (const lane of this.#lanes) lane.withdraw(ticket, graceMs);
  }

  /** Loads a model into every runner before the first task needs it. */
  preload(model: LocalModel): void {
    for (const lane of this.#lanes) lane.prepare(model);
  }

  unload(modelKey: string): void {
    for (const lane of this.#lanes) lane.unload(modelKey);
  }

  status(): SupervisorStatus {
    const handed = this.#lanes.reduce((sum, lane) => sum + lane.load, 0);
    const running = this.#lanes.filter((lane) => lane.load > 0).length;
    return {
      running,
      queued: this.#queue.length + handed - running,
      runners: this.#lanes.map((lane) => ({ state: lane.state, pid: lane.pid })),
      rssBytes: this.#lanes.reduce((sum, lane) => sum + lane.rssBytes, 0),
    };
  }

  async close(): Promise<void> {
    this.#queue = [];
    await Promise.all(this.#lanes.map((lane) => lane.close()));
  }

  #handOut(): void {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      const lane = this.#freestLane(next);
      if (lane === undefined) return;
      this.#queue.shift();
      lane.hand(next);
    }
  }

  #freestLane(ticket: Ticket): Lane | undefined {
    let best: Lane | undefined;
    for (const lane of this.#lanes)
      if (lane.hasRoomFor(ticket) && (best === undefined || lane.load < best.load)) best = lane;
    return best;
  }

  #onUseless(failedStarts: number, error: LegacyGpuError): void {
    const isAnyUp = this.#lanes.some((lane) => lane.state === "up");
    if (failedStarts < GIVE_UP_AFTER || isAnyUp) return;
    const failure = fail("runner_crashed", `The runner does not start: ${error.message}`, error.details);
    for (const ticket of this.#queue.splice(0)) {
      ticket.state = "settled";
      ticket.job.onFailed(failure);
    }
  }
}
