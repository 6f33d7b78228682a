/** A clock that stands still until a test moves it. */

import type { Clock, Timer } from "@legacygpu/shared/clock";

interface Pending {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
}

export class ManualClock implements Clock {
  readonly #originMs: number;
  readonly #pending = new Set<Pending>();
  #elapsedMs = 0;
  #order = 0;

  /** @param originMs wall-clock time at the start. */
  constructor(originMs = Date.UTC(2026, 0, 1)) {
    this.#originMs = originMs;
  }

  /** Timers that are set and not yet due: zero proves that nothing was left behind. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  now(): number {
    return this.#originMs + this.#elapsedMs;
  }

  monotonic(): number {
    return this.#elapsedMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    this.#order += 1;
    const entry: Pending = { dueMs: this.#elapsedMs + Math.max(0, delayMs), order: this.#order, callback };
    this.#pending.add(entry);
    return { cancel: () => void this.#pending.delete(entry) };
  }

  /** Moves time forward and runs what becomes due, in order, also timers that are set on the way. */
  advance(durationMs: number): void {
    const endMs = this.#elapsedMs + durationMs;
    for (let next = this.#nextDue(endMs); next !== undefined; next = this.#nextDue(endMs)) {
      this.#pending.delete(next);
      this.#elapsedMs = Math.max(this.#elapsedMs, next.dueMs);
      next.callback();
    }
    this.#elapsedMs = endMs;
  }

  /** The process is held up: what becomes due meanwhile runs afterwards. */
  standStill(durationMs: number): void {
    this.#elapsedMs += durationMs;
    this.advance(0);
  }

  #nextDue(endMs: number): Pending | undefined {
    let next: Pending | undefined;
    for (const entry of this.#pending) {
      if (entry.dueMs > endMs) continue;
      const isEarlier = next === undefined || entry.dueMs < next.dueMs;
      if (isEarlier || (entry.dueMs === next?.dueMs && entry.order < next.order)) next = entry;
    }
    return next;
  }
}
