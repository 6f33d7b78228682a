/** How many tasks end per second, over the last minute. */

import type { Clock } from "@legacygpu/shared/clock";

const WINDOW_SECONDS = 60;
/** From fewer nothing can be told. */
const MIN_ENDED = 5;

export class Throughput {
  readonly #clock: Clock;
  readonly #perSecond = new Uint32Array(WINDOW_SECONDS);
  /** Seconds since the clock's origin. */
  #latest: number;
  #first: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#latest = this.#now();
    this.#first = this.#latest;
  }

  ended(): void {
    this.#advance();
    const slot = this.#latest % WINDOW_SECONDS;
    this.#perSecond[slot] = (this.#perSecond[slot] ?? 0) + 1;
  }

  /** Undefined when too few have ended to tell. */
  get perSecond(): number | undefined {
    this.#advance();
    const ended = this.#perSecond.reduce((sum, count) => sum + count, 0);
    const seconds = Math.min(WINDOW_SECONDS, this.#latest - this.#first + 1);
    return ended < MIN_ENDED ? undefined : ended / seconds;
  }

  #advance(): void {
    const now = this.#now();
    if (now - this.#latest >= WINDOW_SECONDS) {
      this.#perSecond.fill(0);
      this.#first = now;
      this.#latest = now;
    }
    while (this.#latest < now) {
      this.#latest += 1;
      this.#perSecond[this.#latest % WINDOW_SECONDS] = 0;
    }
  }

  #now(): number {
    return Math.floor(this.#clock.monotonic() / 1000);
  }
}
