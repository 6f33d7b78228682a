/**
 * Round-trip time to one worker, from echoed pings: smoothed value and mean deviation as in RFC 6298, and the least of a window.
 */

const GAIN = 1 / 8;
const DEVIATION_GAIN = 1 / 4;
const WINDOW = 64;

export class RttEstimate {
  readonly #window: number[] = [];
  #smoothedMs: number | undefined;
  #deviationMs = 0;
  #samples = 0;

  /** Undefined before the first sample. */
  get smoothedMs(): number | undefined {
    return this.#smoothedMs;
  }

  get deviationMs(): number {
    return this.#deviationMs;
  }

  /** How many there were. */
  get samples(): number {
    return this.#samples;
  }

  /** The least of the latest samples: the path without queues. */
  get minimumMs(): number | undefined {
    return this.#window.length === 0 ? undefined : Math.min(...this.#window);
  }

  sample(rttMs: number): void {
    this.#samples += 1;
    this.#window.push(rttMs);
    if (this.#window.length > WINDOW) this.#window.shift();
    if (this.#smoothedMs === undefined) {
      this.#smoothedMs = rttMs;
      this.#deviationMs = rttMs / 2;
      return;
    }
    this.#deviationMs += DEVIATION_GAIN * (Math.abs(rttMs - this.#smoothedMs) - this.#deviationMs);
    this.#smoothedMs += GAIN * (rttMs - this.#smoothedMs);
  }
}
