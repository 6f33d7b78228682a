/**
 * The heads of all cohorts, as columns of numbers: a choice runs over hundreds of them, and numbers side by side are read many times faster than objects
 * strewn over memory.
 */

import type { FleetWorker } from "./fleet-worker.ts";

const FIRST_CAPACITY = 64;

export class Board {
  /** What is sent to the head at this time finds a free slot there; see {@link FleetWorker}. */
  sendAtMs = new Float64Array(FIRST_CAPACITY);
  /** Never, when nobody has credit. */
  opensAtMs = new Float64Array(FIRST_CAPACITY);
  uncertaintyMs = new Float64Array(FIRST_CAPACITY);
  /** Never, when there is nobody. */
  staleAtMs = new Float64Array(FIRST_CAPACITY);
  /** Of the whole cohort. */
  ratePerMs = new Float64Array(FIRST_CAPACITY);
  /** Another number for another head; no number (NaN) while something about it besides time is to be weighed. */
  serial = new Float64Array(FIRST_CAPACITY);
  readonly #free: number[] = [];
  #size = 0;

  /** @returns a row, empty. */
  take(): number {
    const row = this.#free.pop() ?? this.#size++;
    if (row === this.sendAtMs.length) this.#grow();
    this.clear(row);
    return row;
  }

  giveBack(row: number): void {
    this.clear(row);
    this.#free.push(row);
  }

  clear(row: number): void {
    this.sendAtMs[row] = 0;
    this.uncertaintyMs[row] = 0;
    this.opensAtMs[row] = Number.POSITIVE_INFINITY;
    this.staleAtMs[row] = Number.POSITIVE_INFINITY;
    this.serial[row] = Number.NaN;
  }

  write(row: number, head: FleetWorker): void {
    this.sendAtMs[row] = head.freeAtMs - head.oneWayMs;
    this.opensAtMs[row] = head.hasCredit ? head.opensAtMs : Number.POSITIVE_INFINITY;
    this.uncertaintyMs[row] = head.uncertaintyMs;
    // What is booked holds for the round, whatever time it is.
    this.staleAtMs[row] = head.booked > 0 ? Number.POSITIVE_INFINITY : head.staleAtMs;
    const isPlain = head.refusals === "" && head.health.isFlawless(undefined);
    this.serial[row] = isPlain ? head.serial : Number.NaN;
  }

  /** @returns the first row from there on with somebody who may be sent a task now, or with numbers that have to be worked out anew; -1: none. */
  firstDue(pressure: number, nowMs: number, from: number): number {
    const { opensAtMs, uncertaintyMs, staleAtMs } = this;
    for (let row = from; row < this.#size; row += 1) {
      const opensMs = (opensAtMs[row] as number) - pressure * (uncertaintyMs[row] as number);
      if (opensMs <= nowMs || (staleAtMs[row] as number) <= nowMs) return row;
    }
    return -1;
  }

  isOpen(row: number, pressure: number, nowMs: number): boolean {
    return (this.opensAtMs[row] as number) - pressure * (this.uncertaintyMs[row] as number) <= nowMs;
  }

  /** When the next one may be sent a task that may not now. */
  nextOpeningMs(pressure: number, nowMs: number): number {
    const { opensAtMs, uncertaintyMs } = this;
    let nextMs = Number.POSITIVE_INFINITY;
    for (let row = 0; row < this.#size; row += 1) {
      const atMs = (opensAtMs[row] as number) - pressure * (uncertaintyMs[row] as number);
      if (atMs > nowMs && atMs < nextMs) nextMs = atMs;
    }
    return nextMs;
  }

  #grow(): void {
    this.sendAtMs = doubled(this.sendAtMs);
    this.opensAtMs = doubled(this.opensAtMs);
    this.uncertaintyMs = doubled(this.uncertaintyMs);
    this.staleAtMs = doubled(this.staleAtMs);
    this.ratePerMs = doubled(this.ratePerMs);
    this.serial = doubled(this.serial);
  }
}

function doubled(column: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(column.length * 2);
  larger.set(column);
  return larger;
}
