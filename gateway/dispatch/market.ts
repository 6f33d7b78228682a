/**
 * What every cohort offers to the tasks of one group: one lot for each, the cheapest first.
 *
 * Prices move slowly, so they and the order are kept for a few milliseconds; what moves fast, the time at which a worker gets free, is always looked
 * at.
 */

import type { Offer, Strategy } from "../balancers/strategy.ts";
import type { Cohort } from "./cohort.ts";
import type { Fleet } from "./fleet.ts";
import type { FleetWorker } from "./fleet-worker.ts";
import { type DispatcherOptions, type DispatchTask, SMALL_INPUT_BYTES } from "./ports.ts";
import type { Speeds } from "./speeds.ts";

const FRESH_MS = 20;

/** What one worker offers to a task. */
export class Quote implements Offer {
  #worker: FleetWorker | undefined;
  #model = "";
  #speeds: Speeds | undefined;
  isOpen = false;
  rttMs = 0;
  uploadMs = 0;
  serviceMs = 0;
  loadMs = 0;
  failureMs = 0;
  /** Until the task can begin there, beyond its way. */
  waitMs = 0;
  /** By the strategy; without the wait. */
  price = 0;

  get worker(): FleetWorker {
    return this.#worker as FleetWorker;
  }

  /** Worked out for those that ask. */
  get serviceBySpeedMs(): number {
    return this.#speeds?.expectedBySpeedMs(this.worker, this.#model) ?? 0;
  }

  /** Takes the measure of a worker for a task. */
  measure(worker: FleetWorker, { model, inputBytes }: DispatchTask, speeds: Speeds): void {
    this.#worker = worker;
    this.serviceMs = speeds.expectedMs(worker, model);
    this.#model = model;
    this.#speeds = speeds;
    this.rttMs = 2 * worker.oneWayMs;
    this.uploadMs = inputBytes <= SMALL_INPUT_BYTES ? 0 : worker.facts.path.uploadMs(inputBytes);
  }

  /** When the worker can begin the task. */
  time(nowMs: number, pressure: number): void {
    const { freeAtMs, oneWayMs, opensAtMs, uncertaintyMs, hasCredit } = this.worker;
    this.waitMs = Math.max(0, freeAtMs - nowMs - oneWayMs - this.uploadMs);
    this.isOpen = hasCredit && opensAtMs - pressure * uncertaintyMs <= nowMs + this.uploadMs;
  }

  fix(strategy: Strategy, task: DispatchTask, loadMs: number): void {
    const { health } = this.worker;
    this.loadMs = loadMs;
    this.failureMs = health.isFlawless(task.firstFailedAtMs)
      ? 0
      : health.failureCostMs(this.serviceMs + loadMs, this.rttMs, task);
    this.price = strategy.price(this);
  }
}

/** What a cohort offers: by the worker that stands for it. */
export class Lot extends Quote {
  readonly cohort: Cohort;

  constructor(cohort: Cohort) {
    super();
    this.cohort = cohort;
  }
}

/** The lots for one group of tasks. */
export class Market {
  readonly #fleet: Fleet;
  readonly #speeds: Speeds;
  readonly #isAble: DispatcherOptions["isAble"];
  #all: Lot[] = [];
  #version = -1;
  #orderedAtMs = Number.NEGATIVE_INFINITY;
  #strategy: Strategy | undefined;
  /** Whose workers have the model, the cheapest first. */
  holders: Lot[] = [];
  /** Of the holders: where their heads stand on the board, what they cost, and for which head that is. */
  rows = new Int32Array(0);
  prices = new Float64Array(0);
  serials = new Float64Array(0);
  longestServiceMs = 0;
  /** Whose workers would have to load it. */
  others: Lot[] = [];
  holderSlots = 0;
  usedAtMs = 0;

  constructor(fleet: Fleet, speeds: Speeds, isAble: DispatcherOptions["isAble"]) {
    this.#fleet = fleet;
    this.#speeds = speeds;
    this.#isAble = isAble;
  }

  get lots(): readonly Lot[] {
    return this.#all;
  }

  /** Brings the lots up to date for tasks like this one. */
  open(task: DispatchTask, strategy: Strategy, nowMs: number): void {
    this.usedAtMs = nowMs;
    const isChanged = this.#version !== this.#fleet.version;
    if (isChanged) this.#gather(task);
    if (!isChanged && nowMs - this.#orderedAtMs < FRESH_MS && strategy === this.#strategy) return;
    this.#orderedAtMs = nowMs;
    this.#strategy = strategy;
    this.#order(task, strategy, nowMs);
  }

  /** Those that meet what the task requires. */
  #gather(task: DispatchTask): void {
    this.#version = this.#fleet.version;
    const known = new Map(this.#all.map((lot) => [lot.cohort, lot]));
    this.#all = [];
    for (const cohort of this.#fleet.cohorts) {
      const { head } = cohort;
      if (head !== undefined && this.#isAble(head, task))
        this.#all.push(known.get(cohort) ?? new Lot(cohort));
    }
  }

  #order(task: DispatchTask, strategy: Strategy, nowMs: number): void {
    this.holders = [];
    this.others = [];
    this.holderSlots = 0;
    this.longestServiceMs = 0;
    for (const lot of this.#all) {
      const worker = lot.cohort.head;
      if (worker === undefined) continue;
      this.#fleet.freshen(lot.cohort, nowMs);
      lot.measure(worker, task, this.#speeds);
      lot.fix(strategy, task, 0);
      const isHolder = worker.residency.has(task.model);
      (isHolder ? this.holders : this.others).push(lot);
      if (!isHolder) continue;
      this.holderSlots += lot.cohort.slots;
      this.longestServiceMs = Math.max(this.longestServiceMs, lot.serviceMs);
    }
    this.#tabulate(task);
  }

  #tabulate({ inputBytes, firstFailedAtMs }: DispatchTask): void {
    const { holders } = this;
    holders.sort((a, b) => leastPrice(a) - leastPrice(b));
    const isPlain = inputBytes <= SMALL_INPUT_BYTES && firstFailedAtMs === undefined;
    const count = holders.length;
    if (count > this.rows.length) {
      this.rows = new Int32Array(2 * count);
      this.prices = new Float64Array(2 * count);
      this.serials = new Float64Array(2 * count);
    }
    for (let i = 0; i < count; i += 1) {
      const lot = holders[i] as Lot;
      this.rows[i] = lot.cohort.row;
      this.prices[i] = leastPrice(lot);
      this.serials[i] = isPlain ? lot.worker.serial : Number.NaN;
    }
  }
}

/** What it costs a task with nothing to carry, if nothing goes wrong. */
function leastPrice({ price, failureMs, uploadMs }: Lot): number {
  return price - failureMs - uploadMs;
}
