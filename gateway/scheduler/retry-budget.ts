/**
 * How many attempts may be made again, so that a bad day does not multiply the load: a share of what succeeds, and a trickle when nothing does.
 */

import type { Clock } from "@legacygpu/shared/clock";

const SHARE_OF_SUCCESSES = 0.2;
const TRICKLE_PER_SECOND = 1;
const MAX_SAVED = 100;

export class RetryBudget {
  readonly #clock: Clock;
  #saved = MAX_SAVED;
  #countedAtMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#countedAtMs = clock.monotonic();
  }

  succeeded(): void {
    this.#saved = Math.min(MAX_SAVED, this.#saved + SHARE_OF_SUCCESSES);
  }

  /** @returns false when nothing is left; then the retry waits. */
  spend(): boolean {
    const nowMs = this.#clock.monotonic();
    this.#saved = Math.min(
      MAX_SAVED,
      this.#saved + ((nowMs - this.#countedAtMs) / 1000) * TRICKLE_PER_SECOND,
    );
    this.#countedAtMs = nowMs;
    if (this.#saved < 1) return false;
    this.#saved -= 1;
    return true;
  }
}
