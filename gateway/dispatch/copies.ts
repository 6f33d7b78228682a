/**
 * Second copies of tasks. The client has the first answer; what a copy finds out, nobody has to wait for.
 *
 * | copy        | of which task              | to which worker                                                             | at most                     |
 * | ----------- | -------------------------- | --------------------------------------------------------------------------- | --------------------------- |
 * | hedge       | one whose answer is late   | an idle one that should answer before it; only while nothing waits          | a share of the work         |
 * | exploration | one that has just been sent | an idle one not heard from for 4 s, or for 1 s when it was slower than usual | a share of the idle time    |
 * | warm_up     | one that has just been sent | an idle one with room for the model, when those that have it are busy       | one a worker and model      |
 * | probe       | one that has just been sent | one whose ejection is over                                                  | one at a time               |
 * | rescue      | those of a silent worker; a last attempt whose worker has not answered well since the first one failed | whoever should answer first | one a task |
 */

import type { Clock } from "@legacygpu/shared/clock";
import type { Strategy } from "../balancers/strategy.ts";
import { TimeHeap } from "../queue/time-heap.ts";
import { isPossible, isWelcome } from "./eligibility.ts";
import type { Fleet } from "./fleet.ts";
import type { FleetWorker } from "./fleet-worker.ts";
import type { Flight } from "./flight.ts";
import { HedgeBudget } from "./hedge-budget.ts";
import { remainingOf } from "./lanes.ts";
import { type Market, Quote } from "./market.ts";
import type { DispatcherOptions, DispatchTask } from "./ports.ts";
import type { Speeds } from "./speeds.ts";

/** Of a hundred answers one is later. */
const LATE_DEVIATIONS = 2.33;
const MAX_HEDGES = 2;
const UNSEEN_MS = 4000;
const DEGRADED_UNSEEN_MS = 1000;
const DEGRADED_WEIGHT = 4;
/** In a large fleet not everybody is looked at each time. */
const LOOKED_AT = 64;
/** When there was nobody to explore, it takes a while until there is. */
const NOBODY_FOR_MS = 20;
const BUSY_SHARE = 0.5;
const MAX_EXPLORATIONS = 3;
const IDLE_EVERY_MS = 200;

export interface CopiesParts {
  readonly options: DispatcherOptions;
  readonly fleet: Fleet;
  readonly speeds: Speeds;
  /** Up to date. */
  readonly marketFor: (task: DispatchTask) => Market;
  readonly waiting: () => number;
  readonly mechanisms: Mechanisms;
}

/** What can be left out, to see what it is worth. */
export interface Mechanisms {
  readonly hedges: boolean;
  readonly exploration: boolean;
  readonly warmUp: boolean;
}

export const ALL_MECHANISMS: Mechanisms = { hedges: true, exploration: true, warmUp: true };

export class Copies {
  readonly #parts: CopiesParts;
  readonly #watched: TimeHeap<Flight>;
  readonly #budget = new HedgeBudget();
  #explorations = 1;
  #exploresAtMs = Number.NEGATIVE_INFINITY;
  #idleShare = 1;
  #idleAtMs = Number.NEGATIVE_INFINITY;
  #cursor = 0;

  constructor(parts: CopiesParts) {
    this.#parts = parts;
    const { clock } = parts.options;
    const monotonic: Clock = {
      now: () => clock.monotonic(),
      monotonic: () => clock.monotonic(),
      after: (delayMs, action) => clock.after(delayMs, action),
    };
    this.#watched = new TimeHeap({
      clock: monotonic,
      slot: { get: (flight) => flight.watchSlot, set: (flight, index) => (flight.watchSlot = index) },
      onDue: (flight) => this.#late(flight),
    });
  }

  close(): void {
    this.#watched.close();
  }

  /** A task was sent, not as a copy. */
  sent(flight: Flight, strategy: Strategy, ejected: ReadonlySet<FleetWorker>): void {
    const { mechanisms } = this.#parts;
    if (!flight.task.mayBeCopied) return;
    if (isRisky(flight)) this.rescue(flight);
    if (strategy.makesCopies) {
      this.#budget.earn(flight.expectedMs);
      if (mechanisms.hedges) this.#watch(flight);
      if (mechanisms.warmUp) this.#warmUp(flight);
    }
    if (flight.purpose !== "first" || this.#probe(flight, ejected)) return;
    if (strategy.makesCopies && mechanisms.exploration) this.#explore(flight);
  }

  /** The worker has answered, or has let go of it. */
  over(flight: Flight, isAnswer: boolean): void {
    this.#watched.remove(flight);
    if (isAnswer && flight.hedge !== undefined)
      this.#budget.answered(flight.hedge, flight.isCopy, this.#parts.options.clock.monotonic());
  }

  /** Its worker has fallen silent. */
  rescue(flight: Flight): void {
    const { task, worker } = flight;
    if (!task.mayBeCopied || flight.isSuperseded || (task.flights?.length ?? 0) > 1) return;
    const nowMs = this.#parts.options.clock.monotonic();
    const target = this.#best(
      task,
      worker,
      ({ rttMs, serviceMs, worker: other }) => rttMs + serviceMs + Math.max(0, other.freeAtMs - nowMs),
    );
    if (target !== undefined) this.#copy(task, target.worker, "rescue");
  }

  // ---- late answers

  #watch(flight: Flight): void {
    const { speeds } = this.#parts;
    const { sigma } = speeds;
    const { worker, expectedMs } = flight;
    const startMs = flight.run?.startMs ?? Math.max(flight.arrivesAtMs, flight.plannedStartMs);
    const lateMs = expectedMs * Math.exp(LATE_DEVIATIONS * sigma - (sigma * sigma) / 2);
    this.#watched.add(flight, startMs + lateMs + worker.oneWayMs + 4 * worker.facts.path.deviationMs);
  }

  #late(flight: Flight): void {
    const { task, worker, expectedMs } = flight;
    if (flight.isOver || flight.isSuperseded) return;
    const { options, speeds } = this.#parts;
    const nowMs = options.clock.monotonic();
    const { run } = flight;
    const elapsedMs = nowMs - worker.oneWayMs - (run?.startMs ?? flight.plannedStartMs);
    const costMs = Math.max(expectedMs, elapsedMs);
    if (this.#mayHedge(flight, costMs)) {
      const remainingMs =
        run === undefined
          ? Number.POSITIVE_INFINITY
          : remainingOf(Math.max(0, elapsedMs), run.expectedMs, speeds.sigma) + worker.oneWayMs;
      const target = this.#best(task, worker, (quote) =>
        isIdle(quote.worker) ? quote.rttMs + quote.serviceMs : Number.POSITIVE_INFINITY,
      );
      if (target !== undefined && target.costMs < remainingMs) this.#hedge(flight, target.worker, costMs);
    }
    if (elapsedMs < 20 * expectedMs + 5000) this.#watched.add(flight, nowMs + 0.5 * expectedMs + 5);
  }

  #mayHedge({ task, hedges }: Flight, costMs: number): boolean {
    if ((task.flights?.length ?? 0) > 1 || hedges >= MAX_HEDGES) return false;
    return this.#parts.waiting() === 0 && this.#budget.canSpend(costMs);
  }

  #hedge(flight: Flight, target: FleetWorker, costMs: number): void {
    const { task } = flight;
    if (!this.#copy(task, target, "hedge")) return;
    flight.hedges += 1;
    flight.hedge = this.#budget.spend(costMs);
    const copy = task.flights?.at(-1);
    if (copy !== undefined) copy.hedge = flight.hedge;
  }

  // ---- finding out

  #probe(flight: Flight, ejected: ReadonlySet<FleetWorker>): boolean {
    const nowMs = this.#parts.options.clock.monotonic();
    for (const worker of ejected) {
      if (!worker.health.isProbeDue(nowMs) || worker.flights.length > 0 || worker.health.isSilent) continue;
      if (this.#mayTry(worker, flight) && this.#copy(flight.task, worker, "probe")) return true;
    }
    return false;
  }

  #explore(flight: Flight): void {
    const nowMs = this.#parts.options.clock.monotonic();
    this.#explorations = Math.min(
      MAX_EXPLORATIONS,
      this.#explorations + 0.01 + 0.05 * Math.max(0, this.#idle(nowMs) - 0.4),
    );
    if (this.#explorations < 1 || nowMs < this.#exploresAtMs) return;
    let target: FleetWorker | undefined;
    let longest = 0;
    for (const worker of this.#someWorkers()) {
      if (worker.flights.length > 0 || !worker.isOnOffer) continue;
      const { isDegraded, observedAtMs } = worker.speed;
      const unseenMs = nowMs - Math.max(observedAtMs, worker.exploredAtMs);
      if (unseenMs <= (isDegraded ? DEGRADED_UNSEEN_MS : UNSEEN_MS)) continue;
      const weight = isDegraded ? unseenMs * DEGRADED_WEIGHT : unseenMs;
      if (weight <= longest || !this.#mayTry(worker, flight)) continue;
      longest = weight;
      target = worker;
    }
    if (target === undefined) {
      this.#exploresAtMs = nowMs + NOBODY_FOR_MS;
      return;
    }
    this.#explorations -= 1;
    target.exploredAtMs = nowMs;
    this.#copy(flight.task, target, "exploration");
  }

  #warmUp(flight: Flight): void {
    const { model } = flight.task;
    let slots = 0;
    let busy = 0;
    let target: FleetWorker | undefined;
    const market = this.#parts.marketFor(flight.task);
    // Everybody has it.
    if (market.others.length === 0) return;
    for (const { cohort } of market.lots) {
      const worker = cohort.firstReady;
      const { head } = cohort;
      if (head === undefined) continue;
      if (head.residency.has(model)) {
        slots += cohort.slots;
        busy += cohort.busySlots;
      } else if (
        target === undefined &&
        worker !== undefined &&
        worker.flights.length === 0 &&
        !worker.residency.isFull
      ) {
        target = worker;
      }
    }
    if (target === undefined || busy <= BUSY_SHARE * slots || !this.#mayTry(target, flight)) return;
    this.#copy(flight.task, target, "warm_up");
  }

  // ----

  #mayTry(worker: FleetWorker, { task }: Flight): boolean {
    if (task.triedWorkerIds?.has(worker.id) === true || !worker.facts.canSend) return false;
    return isPossible(this.#parts.options, worker, task);
  }

  #copy(task: DispatchTask, worker: FleetWorker, purpose: Parameters<DispatcherOptions["copy"]>[2]): boolean {
    if (task.flights?.some((flight) => flight.worker === worker) === true) return false;
    return this.#parts.options.copy(task, worker, purpose);
  }

  /** Of those that have the model the one that costs least. */
  #best(
    task: DispatchTask,
    but: FleetWorker,
    costOf: (quote: Quote) => number,
  ): { readonly worker: FleetWorker; readonly costMs: number } | undefined {
    const { options, speeds, fleet } = this.#parts;
    const nowMs = options.clock.monotonic();
    const quote = new Quote();
    let best: FleetWorker | undefined;
    let bestMs = Number.POSITIVE_INFINITY;
    for (const { cohort } of this.#parts.marketFor(task).lots) {
      fleet.freshen(cohort, nowMs);
      const worker = cohort.head;
      if (worker === undefined || worker === but || !worker.residency.has(task.model)) continue;
      if (!isWelcome(options, worker, task, nowMs)) continue;
      quote.measure(worker, task, speeds);
      const costMs = costOf(quote);
      if (costMs >= bestMs) continue;
      best = worker;
      bestMs = costMs;
    }
    return best === undefined ? undefined : { worker: best, costMs: bestMs };
  }

  #idle(nowMs: number): number {
    if (nowMs - this.#idleAtMs > IDLE_EVERY_MS) {
      let busy = 0;
      for (const cohort of this.#parts.fleet.cohorts) busy += cohort.busySlots;
      const share = 1 - busy / Math.max(1, this.#parts.fleet.slots);
      this.#idleShare =
        this.#idleAtMs === Number.NEGATIVE_INFINITY ? share : 0.8 * this.#idleShare + 0.2 * share;
      this.#idleAtMs = nowMs;
    }
    return this.#idleShare;
  }

  *#someWorkers(): Iterable<FleetWorker> {
    const { workers } = this.#parts.fleet;
    const count = Math.min(LOOKED_AT, workers.length);
    for (let i = 0; i < count; i += 1) {
      this.#cursor = (this.#cursor + 1) % workers.length;
      yield workers[this.#cursor] as FleetWorker;
    }
  }
}

/** The task fails when this attempt does, and what failed before may have befallen this worker too. */
function isRisky({ purpose, task, worker }: Flight): boolean {
  return purpose === "retry" && task.isLastAttempt && !worker.health.isFlawless(task.firstFailedAtMs);
}

function isIdle(worker: FleetWorker): boolean {
  return worker.flights.length < worker.facts.slots && worker.health.rampCredit !== 1;
}
