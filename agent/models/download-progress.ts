/** How far a download is and how fast it goes, told once a second. */

import type { Clock } from "@legacygpu/shared/clock";

export interface DownloadNews {
  readonly receivedBytes: number;
  /** Undefined at the beginning. */
  readonly bytesPerSecond: number | undefined;
}

const INTERVAL_MS = 1000;
/** Of the latest second in the rate: a short pause should not make the time left jump. */
const RATE_GAIN = 0.4;

export class DownloadProgress {
  readonly #clock: Clock;
  #last: { readonly atMs: number; readonly receivedBytes: number } | undefined;
  #bytesPerSecond: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @returns what is to be told now; undefined: it is too soon. */
  note(receivedBytes: number): DownloadNews | undefined {
    const atMs = this.#clock.monotonic();
    const last = this.#last;
    if (last !== undefined && atMs - last.atMs < INTERVAL_MS) return undefined;
    // A download that began anew has less than before.
    if (last !== undefined && receivedBytes >= last.receivedBytes)
      this.#learn(((receivedBytes - last.receivedBytes) * 1000) / (atMs - last.atMs));
    this.#last = { atMs, receivedBytes };
    return { receivedBytes, bytesPerSecond: this.#bytesPerSecond };
  }

  #learn(bytesPerSecond: number): void {
    const known = this.#bytesPerSecond;
    this.#bytesPerSecond =
      known === undefined ? bytesPerSecond : known + RATE_GAIN * (bytesPerSecond - known);
  }
}
