/**
 * What it costs to have a worker load a model that is not in its memory.
 *
 * A load is not only a delay: it takes the worker's time, and the model that leaves for it will be wanted again. So a load is allowed only when nobody has
 * the model, or when those that have it are so busy that loading pays; one worker does not change its models all the time, and only a
 * few do at once.
 */

import type { Arrivals } from "./arrivals.ts";
import type { Fleet } from "./fleet.ts";
import type { FleetWorker } from "./fleet-worker.ts";
import { Latest } from "./latest.ts";

const FIRST_GUESS_MS = 1000;
const GAIN = 0.2;
/** From which wait at those that have it, in loads, another worker may load it: one with room, and one where another model has to leave. */
const WITH_ROOM = 0.1;
const WITH_EVICTION = 0.2;
/** Loads between two evictions on one worker. */
const EVICTION_GAP = 6;
/** Of all workers, at a time. */
const EVICTING_SHARE = 0.15;
const EVICTING_FOR = 1.5;
const MAX_REGRET = 4;
const MAX_MODELS = 4096;

export class LoadPrices {
  readonly #fleet: Fleet;
  readonly #arrivals: Arrivals;
  readonly #models = new Latest<number>(MAX_MODELS);
  /** Workers that have been told to load a model for which another one leaves, with the time. */
  #evicting: { readonly worker: FleetWorker; readonly atMs: number }[] = [];
  #anyMs = FIRST_GUESS_MS;

  constructor(fleet: Fleet, arrivals: Arrivals) {
    this.#fleet = fleet;
    this.#arrivals = arrivals;
  }

  /** How long loading is expected to take. */
  loadMs(model: string): number {
    return this.#models.get(model) ?? this.#anyMs;
  }

  observe(model: string, loadMs: number): void {
    const knownMs = this.#models.get(model) ?? loadMs;
    this.#models.set(model, knownMs + GAIN * (loadMs - knownMs));
    this.#anyMs += GAIN * (loadMs - this.#anyMs);
  }

  /** A task was sent whose model has to be loaded. */
  began(worker: FleetWorker, nowMs: number): void {
    worker.residency.loadingSinceMs = nowMs;
    if (worker.residency.isFull) this.#evicting.push({ worker, atMs: nowMs });
  }

  /** Whether anybody at all may load it. */
  isWorthAsking(model: string, holdersMs: number): boolean {
    return holdersMs >= Math.min(WITH_ROOM, WITH_EVICTION) * this.loadMs(model);
  }

  /**
   * @param holdersMs how long the task would wait at those that have the model; infinite: nobody has it
   * @returns infinite: not there, not now
   */
  priceMs(worker: FleetWorker, model: string, holdersMs: number, nowMs: number): number {
    const loadMs = this.loadMs(model);
    const { isFull, loadingSinceMs, leastRecentlyUsed } = worker.residency;
    if (holdersMs < Number.POSITIVE_INFINITY) {
      if (holdersMs < (isFull ? WITH_EVICTION : WITH_ROOM) * loadMs) return Number.POSITIVE_INFINITY;
      if (isFull && nowMs - loadingSinceMs < EVICTION_GAP * loadMs) return Number.POSITIVE_INFINITY;
      if (
        isFull &&
        this.#evictingNow(loadMs, nowMs) >= Math.max(1, EVICTING_SHARE * this.#fleet.workers.length)
      )
        return Number.POSITIVE_INFINITY;
    }
    if (!isFull || leastRecentlyUsed === undefined) return loadMs;
    return loadMs + this.#regretMs(leastRecentlyUsed, loadMs, nowMs);
  }

  /** What it costs that the model leaves: it is asked for so often, and so many others have it. */
  #regretMs(model: string, loadMs: number, nowMs: number): number {
    let holders = 0;
    for (const cohort of this.#fleet.cohorts)
      if (cohort.head?.residency.has(model) === true) holders += cohort.size;
    const perLoad = (this.#arrivals.perMsOf(model, nowMs) * loadMs) / Math.max(1, holders);
    return loadMs * Math.min(MAX_REGRET, perLoad) + (holders <= 1 ? loadMs : 0);
  }

  #evictingNow(loadMs: number, nowMs: number): number {
    this.#evicting = this.#evicting.filter(({ atMs }) => nowMs - atMs < EVICTING_FOR * loadMs);
    return this.#evicting.length;
  }
}
