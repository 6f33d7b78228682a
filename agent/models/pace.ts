/** How fast downloads may go: a limit for all of them together, and a floor below which a source is too slow to be worth it. */

import { type Clock, sleep } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";

/** A shorter wait is added to the next. */
const MIN_WAIT_MS = 10;

/** The share of a line that downloads may take. */
export class Pace {
  readonly #clock: Clock;
  readonly #bytesPerSecond: number;
  #freeAtMs = 0;

  constructor(clock: Clock, bytesPerSecond: number) {
    this.#clock = clock;
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Resolves when the next bytes may be read after these. */
  async spend(bytes: number, signal: AbortSignal): Promise<void> {
    const nowMs = this.#clock.monotonic();
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + (bytes / this.#bytesPerSecond) * 1000;
    const waitMs = this.#freeAtMs - nowMs;
    if (waitMs >= MIN_WAIT_MS) await sleep(this.#clock, waitMs, signal);
  }
}

/** Gives a source up that is slower than it must be, measured over some seconds. Silence is the connection's own affair. */
export class SpeedFloor {
  readonly #clock: Clock;
  readonly #minBytesPerSecond: number;
  #sinceMs: number;
  #bytes = 0;

  static readonly WINDOW_MS = 4000;

  constructor(clock: Clock, minBytesPerSecond: number) {
    this.#clock = clock;
    this.#minBytesPerSecond = minBytesPerSecond;
    this.#sinceMs = clock.monotonic();
  }

  /** @throws `transfer_failed` */
  check(bytes: number): void {
    this.#bytes += bytes;
    const elapsedMs = this.#clock.monotonic() - this.#sinceMs;
    if (elapsedMs < SpeedFloor.WINDOW_MS) return;
    const bytesPerSecond = (this.#bytes / elapsedMs) * 1000;
    if (bytesPerSecond < this.#minBytesPerSecond)
      throw fail(
        "transfer_failed",
        `The source sends ${Math.round(bytesPerSecond)} bytes a second and must send ${this.#minBytesPerSecond}.`,
      );
    this.#sinceMs += elapsedMs;
    this.#bytes = 0;
  }
}
