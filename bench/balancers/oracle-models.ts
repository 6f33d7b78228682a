/**
 * Whether a worker may load a model for a task, and what that costs everybody.
 *
 * A load is time of the worker's, not only of the task's: it is allowed when nobody has the model, or when those that have it are busy for longer. Few
 * may push a model out at a time, and each only now and then, so that workers do not take turns in loading what they have just thrown away.
 */

import type { Outlook } from "./oracle-outlook.ts";

const RATE_TAU_MS = 5000;
const QUEUE_WEIGHT = 1.5;
/** Of a load's time the holders of the model have to be busy for, with free memory and without. */
const WORTH_FILLING = 0.1;
const WORTH_EVICTING = 0.2;
/** Loads' time between two of a worker that push a model out. */
const EVICTION_PAUSE = 6;
const LOADING = 1.5;
const LOADING_SHARE = 0.15;
const MAX_PRICE = 4;

export class ModelPrices {
  readonly #loadMs: number;
  readonly #waiting = new Map<number, number>();
  readonly #ratePerMs = new Map<number, number>();
  /** How long the holders of a model are busy; for one moment. */
  readonly #holdersBusyMs = new Map<number, number>();
  #computedAtMs = Number.NaN;
  #arrivedAtMs: number | undefined;
  #evicting = 0;

  constructor(loadMs: number) {
    this.#loadMs = loadMs;
  }

  get loadMs(): number {
    return this.#loadMs;
  }

  arrived(model: number, nowMs: number): void {
    const decay = Math.exp(-(nowMs - (this.#arrivedAtMs ?? nowMs)) / RATE_TAU_MS);
    this.#arrivedAtMs = nowMs;
    for (const [known, rate] of this.#ratePerMs) this.#ratePerMs.set(known, rate * decay);
    this.#ratePerMs.set(model, (this.#ratePerMs.get(model) ?? 0) + 1 / RATE_TAU_MS);
  }

  queued(model: number): void {
    this.#waiting.set(model, (this.#waiting.get(model) ?? 0) + 1);
  }

  dequeued(model: number): void {
    this.#waiting.set(model, (this.#waiting.get(model) ?? 0) - 1);
  }

  sent(outlook: Outlook, model: number, nowMs: number): void {
    if (outlook.has(model)) return;
    outlook.lastLoadAtMs = nowMs;
    outlook.hasEvicted = outlook.isFull;
    if (outlook.hasEvicted) this.#evicting += 1;
  }

  /** @returns milliseconds; infinite: it may not. */
  priceMs(outlook: Outlook, model: number, all: readonly Outlook[], nowMs: number): number {
    if (outlook.has(model)) return 0;
    const busyMs = this.#busyMs(outlook, model, all, nowMs);
    if (busyMs !== Number.POSITIVE_INFINITY && !this.#isWorthIt(outlook, busyMs, all.length, nowMs))
      return Number.POSITIVE_INFINITY;
    return this.#loadMs + (outlook.isFull ? this.#evictionMs(outlook, all) : 0);
  }

  #isWorthIt(outlook: Outlook, busyMs: number, workers: number, nowMs: number): boolean {
    if (busyMs < (outlook.isFull ? WORTH_EVICTING : WORTH_FILLING) * this.#loadMs) return false;
    if (!outlook.isFull) return true;
    const isRested = nowMs - outlook.lastLoadAtMs >= EVICTION_PAUSE * this.#loadMs;
    return isRested && this.#evicting < Math.max(1, LOADING_SHARE * workers);
  }

  #busyMs(asking: Outlook, model: number, all: readonly Outlook[], nowMs: number): number {
    if (this.#computedAtMs !== nowMs) this.#holdersBusyMs.clear();
    this.#computedAtMs = nowMs;
    const known = this.#holdersBusyMs.get(model);
    if (known !== undefined) return known;
    let slots = 0;
    let leastMs = Number.POSITIVE_INFINITY;
    this.#evicting = 0;
    for (const outlook of all) {
      if (nowMs - outlook.lastLoadAtMs < LOADING * this.#loadMs && outlook.hasEvicted) this.#evicting += 1;
      if (!outlook.has(model)) continue;
      slots += outlook.worker.slots;
      leastMs = Math.min(leastMs, Math.max(0, outlook.freeAtMs - nowMs));
    }
    const queueMs = ((this.#waiting.get(model) ?? 0) * asking.worker.meanMs(model) * QUEUE_WEIGHT) / slots;
    const busyMs = slots === 0 ? Number.POSITIVE_INFINITY : leastMs + queueMs;
    this.#holdersBusyMs.set(model, busyMs);
    return busyMs;
  }

  /** What the tasks of the model that leaves will have to pay. */
  #evictionMs(outlook: Outlook, all: readonly Outlook[]): number {
    const [victim] = outlook.models ?? [];
    if (victim === undefined) return 0;
    const holders = all.filter((other) => other.has(victim)).length;
    const loads = ((this.#ratePerMs.get(victim) ?? 0) * this.#loadMs) / Math.max(1, holders);
    return this.#loadMs * Math.min(MAX_PRICE, loads) + (holders <= 1 ? this.#loadMs : 0);
  }
}
