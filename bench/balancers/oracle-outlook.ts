/** When a worker can take the next task, seen by one that knows what it truly holds, runs and has in its memory. */

import type { Attempt } from "./attempt.ts";
import { rttMsOf } from "./network.ts";
import { remainingMs } from "./remaining-time.ts";
import type { Simulation } from "./simulation.ts";
import type { Run, SimWorker } from "./worker.ts";

const BUSY_REFRESH_MS = 4;
const IDLE_REFRESH_MS = 100;
const MAX_CREDIT = 512;
const OWN_SIGMA = 0.12;
const BATCH_SIGMA = 0.3;
/** Of a batch's time: a task sent so much before the next batch begins still gets into it. */
const BATCH_EARLY = 0.3;
const EARLY = 0.05;
const JITTER = 0.1;

export class Outlook {
  readonly worker: SimWorker;
  /** Models that it has or will have, least recently used first; undefined: all. */
  models: Set<number> | undefined;
  /** Absolute time at which each slot gets free. */
  readonly #freeAtMs: number[];
  #nextSlot = 0;
  freeAtMs = 0;
  oneWayMs = 0;
  /** Tasks per millisecond. */
  ratePerMs = 0;
  opensAtMs = 0;
  isOpen = false;
  /** Tasks of the round that wait for it. */
  booked = 0;
  lastLoadAtMs = Number.NEGATIVE_INFINITY;
  /** That load pushed another model out. */
  hasEvicted = false;
  readonly #simulation: Simulation;
  /** Waiting tasks that do not fill a batch yet. */
  #batched = 0;
  #credit = 0;
  #earlyMs = 0;
  #batchEarlyMs = 0;
  #refreshedAtMs = Number.NEGATIVE_INFINITY;
  #isStale = true;

  constructor(worker: SimWorker, simulation: Simulation) {
    this.worker = worker;
    this.#simulation = simulation;
    this.#freeAtMs = new Array(worker.slots).fill(0);
  }

  get hasCredit(): boolean {
    return this.worker.held.length + this.booked < this.#credit;
  }

  get isFull(): boolean {
    const { memory } = this.worker;
    return this.models !== undefined && memory !== undefined && this.models.size >= memory.capacity;
  }

  has(model: number): boolean {
    return this.models?.has(model) ?? true;
  }

  touch(model: number): void {
    const capacity = this.worker.memory?.capacity ?? Number.POSITIVE_INFINITY;
    if (this.models !== undefined) touch(this.models, model, capacity);
  }

  /** Something has happened to it. */
  invalidate(): void {
    this.#isStale = true;
  }

  /** @param pressure share of the slots that the queue could fill, up to 1. */
  refresh(pressure: number): void {
    const nowMs = this.#simulation.nowMs;
    const keepsMs = this.worker.held.length > 0 ? BUSY_REFRESH_MS : IDLE_REFRESH_MS;
    if (this.#isStale || nowMs - this.#refreshedAtMs > keepsMs) {
      this.#refreshedAtMs = nowMs;
      this.#isStale = false;
      this.#measure();
      if (this.worker.memory !== undefined) this.models = this.#expectedModels(this.worker.memory.capacity);
      if (this.worker.batchMax > 1) this.#layBatches(nowMs);
      else this.#layRuns(nowMs);
    }
    this.openFor(pressure);
  }

  /** It opens just in time for a task to be there when a slot gets free, and earlier the more wait. */
  openFor(pressure: number): void {
    this.#nextSlot = earliest(this.#freeAtMs);
    this.freeAtMs = this.#freeAtMs[this.#nextSlot] ?? 0;
    const earlyMs = (EARLY + pressure) * this.#earlyMs + this.#batchEarlyMs;
    this.opensAtMs = this.freeAtMs - this.oneWayMs - earlyMs;
    this.isOpen = this.hasCredit && this.opensAtMs <= this.#simulation.nowMs;
  }

  /** A task will begin there, sent or not yet. */
  book(beginMs: number, serviceMs: number): void {
    this.#isStale = true;
    const { held, batchMax, batchBeta } = this.worker;
    if (batchMax === 1) {
      this.#freeAtMs[this.#nextSlot] = beginMs + serviceMs;
      return;
    }
    if (held.length + this.booked <= 1) {
      this.#freeAtMs[0] = beginMs + serviceMs;
      this.#batched = 0;
      return;
    }
    this.#batched += 1;
    if (this.#batched < batchMax) return;
    this.#freeAtMs[0] = (this.#freeAtMs[0] ?? 0) + serviceMs * (1 + batchBeta * (batchMax - 1));
    this.#batched = 0;
  }

  #measure(): void {
    const { slots, batchMax } = this.worker;
    const site = this.#simulation.siteOf(this.worker);
    const stallMs = 1.5 * (site.spikeP ?? 0) * (site.spikeMs ?? 0);
    this.oneWayMs = rttMsOf(site, this.#simulation.nowMs) / 2 + stallMs;
    const typicalMs = this.#typicalMs();
    const batchMs = this.#batchMs(typicalMs);
    const atOnce = slots * batchMax;
    const inTransit = (1.5 * atOnce * (2 * this.oneWayMs + 1)) / typicalMs;
    this.ratePerMs = atOnce / batchMs;
    this.#credit = Math.min(MAX_CREDIT, atOnce + Math.ceil(inTransit) + (batchMax > 1 ? 2 * atOnce : 0) + 2);
    // What is uncertain about the moment at which a slot gets free: the tasks that are before it in the pipe, and the path.
    const pipeline = Math.min(64, (2 * this.oneWayMs) / typicalMs);
    this.#earlyMs = typicalMs * Math.sqrt(1 + pipeline) + JITTER * this.oneWayMs;
    this.#batchEarlyMs = (batchMax > 1 ? BATCH_EARLY * batchMs : 0) + 0.5;
  }

  /** Of the tasks as they come. */
  #typicalMs(): number {
    let sumMs = 0;
    let shares = 0;
    for (const [model, { share }] of this.#simulation.story.models.entries()) {
      sumMs += share * this.worker.meanMs(model);
      shares += share;
    }
    return sumMs / shares;
  }

  #batchMs(aloneMs: number): number {
    const { batchMax, batchBeta } = this.worker;
    return batchMax > 1 ? aloneMs * (1 + batchBeta * (batchMax - 1)) : aloneMs;
  }

  #expectedModels(capacity: number): Set<number> {
    const models = new Set(this.worker.memory?.models());
    for (const { task } of this.worker.waiting) touch(models, task.plan.model, capacity);
    for (const { task } of this.#onTheWay()) touch(models, task.plan.model, capacity);
    return models;
  }

  #onTheWay(): Attempt[] {
    return this.worker.held.filter(({ arrivedAtMs }) => arrivedAtMs === undefined);
  }

  #layBatches(nowMs: number): void {
    const { runs, waiting, batchMax, batchBeta } = this.worker;
    let freeAtMs = 0;
    for (const { meanMs, startedAtMs, attempts } of runs) {
      const batchMs = meanMs * (1 + batchBeta * (attempts.length - 1));
      freeAtMs = Math.max(freeAtMs, nowMs + remainingMs(nowMs - startedAtMs, batchMs, BATCH_SIGMA));
    }
    const count = waiting.length + this.#onTheWay().length;
    this.#freeAtMs[0] = freeAtMs + Math.floor(count / batchMax) * this.#batchMs(this.#typicalMs());
    this.#batched = count % batchMax;
  }

  #layRuns(nowMs: number): void {
    const { runs, waiting } = this.worker;
    this.#freeAtMs.fill(0);
    for (const [slot, run] of runs.entries()) this.#freeAtMs[slot] = nowMs + this.#remainingMs(run, nowMs);
    for (const attempt of waiting) this.#lay(attempt, nowMs);
    for (const attempt of this.#onTheWay())
      this.#lay(attempt, Math.max(nowMs, attempt.sentAtMs + this.oneWayMs));
  }

  #remainingMs({ startedAtMs, loadMs, meanMs, model }: Run, nowMs: number): number {
    const elapsedMs = nowMs - startedAtMs - loadMs;
    const sigma = Math.hypot(this.#simulation.story.models[model]?.sigma ?? 0.4, OWN_SIGMA);
    return remainingMs(elapsedMs, meanMs, sigma);
  }

  #lay({ task }: Attempt, fromMs: number): void {
    const { model } = task.plan;
    const { memory } = this.worker;
    const isLoaded = memory === undefined || memory.has(model);
    const loadMs = isLoaded ? 0 : (this.#simulation.story.models[model]?.loadMs ?? 0);
    const slot = earliest(this.#freeAtMs);
    const beginMs = Math.max(this.#freeAtMs[slot] ?? 0, fromMs);
    this.#freeAtMs[slot] = beginMs + this.worker.meanMs(model) + loadMs;
  }
}

function earliest(times: readonly number[]): number {
  let first = 0;
  for (let i = 1; i < times.length; i += 1) {
    if ((times[i] ?? 0) < (times[first] ?? 0)) first = i;
  }
  return first;
}

function touch(models: Set<number>, model: number, capacity: number): void {
  models.delete(model);
  for (const oldest of models) {
    if (models.size < capacity) break;
    models.delete(oldest);
  }
  models.add(model);
}
