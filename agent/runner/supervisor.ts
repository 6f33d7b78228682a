/** The queue in front of the runner processes: hands out jobs in order, takes back what a dead process held. */

import type { Clock, Random } from "@legacygpu/shared/clock";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import { GpuMemory } from "./gpu-memory.ts";
import type { Job, LocalModel, ModelEvent, Ticket } from "./job.ts";
import { Lane } from "./lane.ts";
import type { LaneState } from "./lane-process.ts";
import { LoadPlanner } from "./load-planner.ts";
import { isCrash, type RunnerExit, type SpawnRunner } from "./process.ts";
import { Quarantine } from "./quarantine.ts";
import { SelfTestRecord } from "./self-test-record.ts";

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
  /** What models may take of the GPU's memory. Absent: nobody knows how much there is. */
  readonly gpuBudgetBytes?: number | undefined;
  /** Default: one that lasts as long as the supervisor. */
  readonly selfTests?: SelfTestRecord | undefined;
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
  readonly #onModel: (event: ModelEvent) => void;
  readonly #quarantine: Quarantine;
  readonly #lanes: readonly Lane[];
  #queue: Ticket[] = [];

  constructor(options: SupervisorOptions) {
    const { clock, log, providers } = options;
    this.#clock = clock;
    this.#onModel = (event) => options.onModel(event);
    this.#quarantine = new Quarantine(clock);
    const memory = new GpuMemory(options.gpuBudgetBytes, clock);
    const selfTests = options.selfTests ?? new SelfTestRecord({ fingerprint: "", clock, log });
    const planner = new LoadPlanner({ providers, record: selfTests, memory });
    const threads = Math.max(1, Math.floor(options.cores / options.slots));
    const events = {
      onRoom: () => this.#handOut(),
      onReturned: (tickets: readonly Ticket[]) => this.#queue.unshift(...tickets),
      onModel: (event: ModelEvent) => this.#tell(event),
      onCrashed: (model: LocalModel, exit: RunnerExit) => this.#onCrashed(model, exit),
      onUseless: (failedStarts: number, error: LegacyGpuError) => this.#onUseless(failedStarts, error),
      countRuns: () => this.#lanes.reduce((count, lane) => count + (lane.isComputing ? 1 : 0), 0),
    };
    const laneOptions = { ...options, planner, memory, selfTests, threads };
    this.#lanes = Array.from({ length: options.slots }, () => new Lane(laneOptions, events));
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
      concurrency: 1,
      mayFinish: false,
    };
    this.#queue.push(ticket);
    this.#handOut();
    return ticket;
  }

  /**
   * Nothing more is reported for this job. One that runs is given `graceMs` to end by itself, so that the model
   * need not be loaded again, and then its process is killed. With an infinite grace only the limits of the run end it.
   */
  stop(ticket: Ticket, graceMs: number): void {
    const { state } = ticket;
    ticket.mayFinish = graceMs === Number.POSITIVE_INFINITY;
    ticket.state = "settled";
    if (state === "waiting") this.#queue = this.#queue.filter((waiting) => waiting !== ticket);
    else if (state !== "settled") for (const lane of this.#lanes) lane.withdraw(ticket, graceMs);
  }

  /** Loads a model into every runner before the first task needs it. */
  preload(model: LocalModel): void {
    for (const lane of this.#lanes) lane.prepare(model);
  }

  unload(modelKey: string): void {
    this.#quarantine.forget(modelKey);
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

  #tell(event: ModelEvent): void {
    const isElsewhere = this.#lanes.some((lane) => lane.hasLoaded(event.model.key));
    if (event.state !== "unloaded" || !isElsewhere) this.#onModel(event);
  }

  #onCrashed(model: LocalModel, exit: RunnerExit): void {
    const outMs = isCrash(exit) ? this.#quarantine.crashed(model.key) : undefined;
    if (outMs === undefined) return;
    const how = exit.signal === null ? `exit code ${exit.code}` : exit.signal;
    const message = `The model took its process down again and again (last by ${how}) and is not run here for ${outMs / 60_000} minutes.`;
    const error = fail("model_load_failed", message, { cause: "runner_crashed", quarantineMs: outMs });
    for (const lane of this.#lanes) lane.unload(model.key);
    this.#onModel({ model, state: "failed", error, retryAfterMs: outMs });
    for (const ticket of this.#queue) if (ticket.job.model.key === model.key) settle(ticket, error);
    this.#queue = this.#queue.filter(({ state }) => state !== "settled");
  }

  #onUseless(failedStarts: number, error: LegacyGpuError): void {
    const isAnyUp = this.#lanes.some((lane) => lane.state === "up");
    if (failedStarts < GIVE_UP_AFTER || isAnyUp) return;
    const failure = fail("runner_crashed", `The runner does not start: ${error.message}`, error.details);
    for (const ticket of this.#queue.splice(0)) settle(ticket, failure);
  }
}

function settle(ticket: Ticket, failure: LegacyGpuError): void {
  ticket.state = "settled";
  ticket.job.onFailed(failure);
}
