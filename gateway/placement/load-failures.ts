/** Which worker could not load which version, and for how long it is not asked again: longer each time. */

import type { Clock } from "@legacygpu/shared/clock";

const FIRST_PAUSE_MS = 30_000;
const MAX_PAUSE_MS = 600_000;

export interface LoadFailure {
  readonly workerId: string;
  readonly version: string;
  readonly reason: string;
  /** In a row. */
  readonly attempts: number;
  /** Monotonic. */
  readonly untilMs: number;
}

export class LoadFailures {
  readonly #clock: Clock;
  readonly #failures = new Map<string, LoadFailure>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param leastMs how long the worker itself wants not to be asked */
  note(workerId: string, version: string, reason: string, leastMs = 0): LoadFailure {
    const key = keyOf(workerId, version);
    const attempts = (this.#failures.get(key)?.attempts ?? 0) + 1;
    const pauseMs = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempts - 1));
    const untilMs = this.#clock.monotonic() + Math.max(pauseMs, leastMs);
    const failure = { workerId, version, reason, attempts, untilMs };
    this.#failures.set(key, failure);
    return failure;
  }

  isBarred(workerId: string, version: string): boolean {
    const failure = this.#failures.get(keyOf(workerId, version));
    return failure !== undefined && this.#clock.monotonic() < failure.untilMs;
  }

  /** It has it loaded after all. */
  forgive(workerId: string, version: string): void {
    this.#failures.delete(keyOf(workerId, version));
  }

  clear(): void {
    this.#failures.clear();
  }

  /** Those that are still to be waited for. */
  current(): LoadFailure[] {
    const nowMs = this.#clock.monotonic();
    return [...this.#failures.values()].filter(({ untilMs }) => nowMs < untilMs);
  }
}

const keyOf = (workerId: string, version: string): string => `${version} ${workerId}`;
