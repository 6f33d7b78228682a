/** Tells when keys expire, for those who hold something open on their account. One timer for all. */

import type { Clock, Timer } from "@legacygpu/shared/clock";

/** Somebody may set the clock of the machine while a timer runs, and timers do not notice. */
const LONGEST_WAIT_MS = 600_000;

export class ExpiryWatch {
  readonly #clock: Clock;
  readonly #onExpired: (id: string) => void;
  readonly #endsAtMs = new Map<string, number>();
  #timer: Timer | undefined;
  /** The earliest end, which the timer is for. */
  #nextMs = Number.POSITIVE_INFINITY;

  /** @param onExpired called once for each id that is watched. */
  constructor(clock: Clock, onExpired: (id: string) => void) {
    this.#clock = clock;
    this.#onExpired = onExpired;
  }

  /** At once when that time has come. Takes the place of what was said of `id` before. */
  watch(id: string, endsAtMs: number): void {
    this.#endsAtMs.set(id, endsAtMs);
    if (endsAtMs <= this.#clock.now()) this.#look();
    else if (endsAtMs < this.#nextMs) this.#waitFor(endsAtMs);
  }

  forget(id: string): void {
    this.#endsAtMs.delete(id);
  }

  close(): void {
    this.#endsAtMs.clear();
    this.#timer?.cancel();
  }

  #look(): void {
    const now = this.#clock.now();
    const expired: string[] = [];
    let nextMs = Number.POSITIVE_INFINITY;
    for (const [id, endsAtMs] of this.#endsAtMs) {
      if (endsAtMs <= now) expired.push(id);
      else nextMs = Math.min(nextMs, endsAtMs);
    }
    for (const id of expired) this.#endsAtMs.delete(id);
    this.#waitFor(nextMs);
    for (const id of expired) this.#onExpired(id);
  }

  #waitFor(endsAtMs: number): void {
    this.#timer?.cancel();
    this.#nextMs = endsAtMs;
    if (endsAtMs === Number.POSITIVE_INFINITY) return;
    const waitMs = Math.min(endsAtMs - this.#clock.now(), LONGEST_WAIT_MS);
    this.#timer = this.#clock.after(waitMs, () => this.#look());
  }
}
