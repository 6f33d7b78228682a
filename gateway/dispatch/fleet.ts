/**
 * All workers, sorted into cohorts, with what follows from their measurements kept up to date.
 *
 * Up to {@link FINE_LIMIT} workers each is a cohort of its own, so that a choice sees every one of them. Beyond it workers of a site share one when
 * they are alike: a choice then costs as much as there are cohorts, however many workers there are.
 */

import { Board } from "./board.ts";
import { Cohort } from "./cohort.ts";
import type { FleetWorker } from "./fleet-worker.ts";
import { projectLanes } from "./lanes.ts";
import type { Speeds } from "./speeds.ts";

const FINE_LIMIT = 64;
/** So that a fleet about as large as the limit is not sorted anew all the time. */
const FINE_AGAIN = 48;
/** Speeds within e^(1/3) are alike; who stands at the edge stays where it is. */
const SPEED_STEPS = 3;
const EDGE = 0.8;
/** While nothing is known of a path. */
const UNKNOWN_RTT_MS = 50;
const MAX_CREDIT = 512;
/** More than the bandwidth-delay product asks for, since answers come unevenly. */
const CREDIT_FACTOR = 1.5;
const BATCH_EARLY_SHARE = 0.3;
const EARLY_MARGIN_MS = 0.5;
const MAX_PIPELINE = 64;
const IDLE_FRESH_MS = 100;
const MIN_FRESH_MS = 4;
const MAX_FRESH_MS = 50;
const FRESH_SHARE = 1 / 4;
/** Among very many, another one is as good as the one that is not looked at so soon. */
const COARSE_FRESH_FACTOR = 2;

export class Fleet {
  readonly #speeds: Speeds;
  readonly #cohorts = new Map<string, Cohort>();
  /** By their rows on the board. */
  readonly #rows: Cohort[] = [];
  readonly workers: FleetWorker[] = [];
  readonly board = new Board();
  #isFine = true;
  #slots = 0;
  /** Rises whenever a cohort appears: who has a list of them makes it anew. */
  version = 0;

  constructor(speeds: Speeds) {
    this.#speeds = speeds;
  }

  get cohorts(): Iterable<Cohort> {
    return this.#cohorts.values();
  }

  /**
   * Whether somebody may be sent a task now.
   *
   * @param pressure as in {@link Board.isOpen}
   */
  isAnyOpen(pressure: number, nowMs: number): boolean {
    const { board } = this;
    for (let row = 0; ; row += 1) {
      row = board.firstDue(pressure, nowMs, row);
      if (row < 0) return false;
      this.freshen(this.#rows[row] as Cohort, nowMs);
      if (board.isOpen(row, pressure, nowMs)) return true;
    }
  }

  /** Of all workers. */
  get slots(): number {
    return this.#slots;
  }

  add(worker: FleetWorker, nowMs: number): void {
    this.workers.push(worker);
    this.#slots += worker.facts.slots;
    if (this.#isFine && this.workers.length > FINE_LIMIT) this.#sortAnew(false, nowMs);
    else this.refresh(worker, nowMs);
  }

  remove(worker: FleetWorker, nowMs: number): void {
    const index = this.workers.indexOf(worker);
    if (index < 0) return;
    this.workers.splice(index, 1);
    this.#slots -= worker.facts.slots;
    this.#leaveCohort(worker);
    if (!this.#isFine && this.workers.length < FINE_AGAIN) this.#sortAnew(true, nowMs);
  }

  /** Something about the worker has changed, or it has not been looked at for long. */
  refresh(worker: FleetWorker, nowMs: number): void {
    this.#measure(worker, nowMs);
    projectLanes(worker, this.#speeds, nowMs);
    this.settle(worker);
  }

  /** Its times are as they should be: puts it where it belongs. */
  settle(worker: FleetWorker): void {
    if (!worker.isOnOffer) {
      this.#leaveCohort(worker);
      return;
    }
    const key = this.#keyOf(worker);
    if (worker.cohort?.key !== key) {
      this.#leaveCohort(worker);
      worker.cohort = this.#cohort(key);
      if (worker.cohort.size === 0) this.version += 1;
    }
    worker.cohort?.put(worker);
  }

  /** Looks afresh at the head of the cohort. Stale times are too early, never too late, so they come up by themselves. */
  freshen(cohort: Cohort, nowMs: number): void {
    while (cohort.head !== undefined && (this.board.staleAtMs[cohort.row] as number) <= nowMs)
      this.refresh(cohort.head, nowMs);
  }

  /** Forgets cohorts that nobody is in. */
  sweep(): void {
    for (const [key, cohort] of this.#cohorts) {
      if (cohort.size > 0) continue;
      this.#cohorts.delete(key);
      this.board.giveBack(cohort.row);
      this.version += 1;
    }
  }

  #measure(worker: FleetWorker, nowMs: number): void {
    const { path, slots } = worker.facts;
    const rttMs = path.rttMs ?? UNKNOWN_RTT_MS;
    const typicalMs = this.#speeds.typicalMs(worker);
    const batch = worker.batchLimit;
    const batchMs = typicalMs * (batch > 1 ? this.#speeds.batchFactor("", batch) : 1);
    worker.oneWayMs = rttMs / 2;
    worker.ratePerMs = (slots * batch) / batchMs;
    worker.uncertaintyMs =
      typicalMs * Math.sqrt(1 + Math.min(MAX_PIPELINE, rttMs / typicalMs)) + path.deviationMs;
    worker.leadMs = EARLY_MARGIN_MS + (batch > 1 ? BATCH_EARLY_SHARE * batchMs : 0);
    const atOnce = slots * batch;
    const onTheWay = Math.ceil((CREDIT_FACTOR * atOnce * (rttMs + 1)) / typicalMs);
    const full = Math.min(MAX_CREDIT, atOnce + onTheWay + (batch > 1 ? 2 * atOnce : 0) + 2);
    worker.credit = Math.min(full, worker.health.rampCredit ?? full);
    const busyFreshMs = Math.max(MIN_FRESH_MS, Math.min(MAX_FRESH_MS, typicalMs * FRESH_SHARE));
    worker.staleAtMs =
      nowMs +
      (worker.flights.length === 0 ? IDLE_FRESH_MS : busyFreshMs * (this.#isFine ? 1 : COARSE_FRESH_FACTOR));
  }

  #keyOf(worker: FleetWorker): string {
    if (this.#isFine) return worker.id;
    const speed = SPEED_STEPS * Math.log(worker.ratePerMs);
    const step = Math.abs(speed - worker.keyStep) < EDGE ? worker.keyStep : Math.round(speed);
    const { signature } = worker.residency;
    const { refusals } = worker;
    const { site, capability } = worker.facts;
    if (
      worker.keyStep === step &&
      worker.keySignature === signature &&
      worker.keyRefusals === refusals &&
      worker.keyCapability === capability
    )
      return worker.key;
    worker.keyStep = step;
    worker.keySignature = signature;
    worker.keyRefusals = refusals;
    worker.keyCapability = capability;
    worker.key = [step, site, capability, signature, refusals].join("\n");
    return worker.key;
  }

  #cohort(key: string): Cohort {
    let cohort = this.#cohorts.get(key);
    if (cohort === undefined) {
      cohort = new Cohort(key, this.board);
      this.#cohorts.set(key, cohort);
      this.#rows[cohort.row] = cohort;
      this.version += 1;
    }
    return cohort;
  }

  #leaveCohort(worker: FleetWorker): void {
    worker.cohort?.remove(worker);
    worker.cohort = undefined;
  }

  #sortAnew(isFine: boolean, nowMs: number): void {
    this.#isFine = isFine;
    for (const worker of this.workers) this.#leaveCohort(worker);
    for (const cohort of this.#cohorts.values()) this.board.giveBack(cohort.row);
    this.#cohorts.clear();
    this.version += 1;
    for (const worker of this.workers) {
      worker.keyStep = Number.NaN;
      this.refresh(worker, nowMs);
    }
  }
}
