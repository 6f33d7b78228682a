/**
 * One time-out shared by many holders: since all wait equally long, the order of insertion is the order of expiry, and
 * one coarse sweep replaces a timer per request.
 */

export class Deadlines<Holder> {
  readonly durationMs: number;
  readonly #expiresAt = new Map<Holder, number>();

  constructor(durationMs: number) {
    this.durationMs = durationMs;
  }

  /** Starts the holder's time, or starts it anew. */
  start(holder: Holder): void {
    this.#expiresAt.delete(holder);
    this.#expiresAt.set(holder, performance.now() + this.durationMs);
  }

  stop(holder: Holder): void {
    this.#expiresAt.delete(holder);
  }

  /** Removes and returns the holders whose time is over. */
  takeExpired(): Holder[] {
    const now = performance.now();
    const expired: Holder[] = [];
    for (const [holder, expiresAt] of this.#expiresAt) {
      if (expiresAt > now) break;
      this.#expiresAt.delete(holder);
      expired.push(holder);
    }
    return expired;
  }
}
