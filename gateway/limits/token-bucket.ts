/**
 * Token buckets in whole numbers: what they let in never depends on rounding.
 *
 * The bound: between two readings of the clock that are T apart, never more than `burst + rate × T` is taken, as long as nothing is taken
 * that has to be waited for; and whoever stays within that bound is never told to wait. Both hold exactly, because levels are counted in
 * units so small that every microsecond adds a whole number of them. `test/gateway/limits-bucket.test.ts` holds it to this.
 */

import { fail } from "@legacygpu/shared/errors";

const US_PER_SECOND = 1_000_000;
/** Counts that are not whole numbers are kept to this many parts of one. */
const FRACTIONS = 1000;

export interface GivenRate {
  /** For error messages. */
  readonly name: string;
  /** How many in that time, at least 0.001. */
  readonly count: number;
  /** Default 1. */
  readonly seconds?: number | undefined;
  /** What a full bucket holds, at least 1. Default: what comes in that time. */
  readonly burst?: number | undefined;
}

/** How fast buckets fill and how much they hold; one for all buckets of a kind. */
export class Rate {
  readonly burst: number;
  /** A token is this many units. */
  readonly unitsPerToken: number;
  readonly unitsPerUs: number;
  readonly capacityUnits: number;

  /** @throws `config_invalid` */
  constructor({ name, count, seconds = 1, burst = Math.max(1, Math.ceil(count)) }: GivenRate) {
    const parts = Number.isInteger(count) ? 1 : FRACTIONS;
    this.burst = burst;
    this.unitsPerUs = Math.round(count * parts);
    this.unitsPerToken = US_PER_SECOND * seconds * parts;
    this.capacityUnits = burst * this.unitsPerToken;
    if (!(this.unitsPerUs >= 1 && Number.isSafeInteger(this.unitsPerUs)))
      throw fail("config_invalid", `${name}: ${count} is not a rate of at least 0.001.`, { path: name });
    if (!(Number.isSafeInteger(burst) && burst >= 1 && Number.isSafeInteger(this.capacityUnits))) {
      const most = Math.floor(Number.MAX_SAFE_INTEGER / this.unitsPerToken);
      throw fail("config_invalid", `${name}: a burst of ${burst} is not a whole number from 1 to ${most}.`, {
        path: name,
      });
    }
  }
}

/** Fills by itself; every operation is a few sums. Times are whole microseconds of a monotonic clock. */
export class TokenBucket {
  readonly #rate: Rate;
  #levelUnits: number;
  #atUs: number;

  /** A new one is full. */
  constructor(rate: Rate, nowUs: number) {
    this.#rate = rate;
    this.#levelUnits = rate.capacityUnits;
    this.#atUs = nowUs;
  }

  get burst(): number {
    return this.#rate.burst;
  }

  /** How long until `count` tokens are there; 0: now. For more than the bucket can hold, until it is full. */
  waitUs(count: number, nowUs: number): number {
    this.#refill(nowUs);
    const { capacityUnits, unitsPerToken, unitsPerUs } = this.#rate;
    const missing = Math.min(count * unitsPerToken, capacityUnits) - this.#levelUnits;
    return missing <= 0 ? 0 : Math.ceil(missing / unitsPerUs);
  }

  /** Takes them in every case: what is not there is owed, but never more than `mostOwed`. */
  take(count: number, nowUs: number, mostOwed = Number.MAX_SAFE_INTEGER): void {
    this.#refill(nowUs);
    const { unitsPerToken } = this.#rate;
    const lowest = -Math.min(mostOwed * unitsPerToken, Number.MAX_SAFE_INTEGER);
    this.#levelUnits = Math.max(lowest, this.#levelUnits - count * unitsPerToken);
  }

  /** Tokens that were taken and not used. */
  giveBack(count: number, nowUs: number): void {
    this.#refill(nowUs);
    const { capacityUnits, unitsPerToken } = this.#rate;
    this.#levelUnits = Math.min(capacityUnits, this.#levelUnits + count * unitsPerToken);
  }

  /** Whole tokens that are there now. */
  remaining(nowUs: number): number {
    this.#refill(nowUs);
    return Math.max(0, Math.floor(this.#levelUnits / this.#rate.unitsPerToken));
  }

  /** A full bucket is like a new one: it need not be kept. */
  isIdle(nowUs: number): boolean {
    return this.fullInUs(nowUs) === 0;
  }

  fullInUs(nowUs: number): number {
    return this.waitUs(this.#rate.burst, nowUs);
  }

  #refill(nowUs: number): void {
    const elapsedUs = nowUs - this.#atUs;
    if (elapsedUs <= 0) return;
    this.#atUs = nowUs;
    const { capacityUnits, unitsPerUs } = this.#rate;
    this.#levelUnits = Math.min(capacityUnits, this.#levelUnits + elapsedUs * unitsPerUs);
  }
}
