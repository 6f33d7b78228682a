/** A limit on something that follows itself quickly: one timer, which is set again only when it fires or would fire too late. */

import type { Clock, Timer } from "@legacygpu/shared/clock";

export class Watchdog {
  readonly #clock: Clock;
  readonly #onExpired: () => void;
  #timer: Timer | undefined;
  #firesAt = 0;
  #expiresAt = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, onExpired: () => void) {
    this.#clock = clock;
    this.#onExpired = onExpired;
  }

  /** The time begins anew. */
  restart(limitMs: number): void {
    this.#expiresAt = this.#clock.monotonic() + limitMs;
    this.#arm(limitMs);
  }

  stop(): void {
    this.#expiresAt = Number.POSITIVE_INFINITY;
  }

  close(): void {
    this.stop();
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(leftMs: number): void {
    const firesAt = this.#clock.monotonic() + leftMs;
    if (this.#timer !== undefined && this.#firesAt <= firesAt) return;
    this.#timer?.cancel();
    this.#firesAt = firesAt;
    this.#timer = this.#clock.after(leftMs, () => this.#onTimer());
  }

  #onTimer(): void {
    this.#timer = undefined;
    const leftMs = this.#expiresAt - this.#clock.monotonic();
    if (leftMs === Number.POSITIVE_INFINITY) return;
    if (leftMs > 0) this.#arm(leftMs);
    else {
      this.stop();
      this.#onExpired();
    }
  }
}
