/**
 * Exponential backoff with full jitter: each delay is uniform between 0 and a ceiling that doubles.
 *
 * Full jitter spreads a fleet that lost its gateway in one moment evenly over the whole window
 * (AWS Architecture Blog, "Exponential Backoff And Jitter").
 */

import type { Random } from "./clock.ts";

export interface BackoffOptions {
  readonly baseMs: number;
  readonly capMs: number;
}

export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: Random;
  #failures = 0;

  constructor(options: BackoffOptions, random: Random) {
    this.#options = options;
    this.#random = random;
  }

  /** The delay before the next try, in milliseconds; each call counts one more failure. */
  nextMs(): number {
    // 2^30 is past any cap in use and keeps the power finite.
    const ceiling = Math.min(this.#options.capMs, this.#options.baseMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return this.#random() * ceiling;
  }

  reset(): void {
    this.#failures = 0;
  }
}
