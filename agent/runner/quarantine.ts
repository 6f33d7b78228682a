/**
 * Models that take their process down again and again, and for how long each is kept out.
 *
 * Two crashes within ten minutes: out for ten minutes, twice as long each further time, a day at most. A day without a crash and all is forgotten.
 */

import type { Clock } from "@legacygpu/shared/clock";

const MAX_CRASHES = 2;
const WINDOW_MS = 10 * 60_000;
const FIRST_MS = 10 * 60_000;
const LONGEST_MS = 24 * 3600_000;

interface Offender {
  crashedAtMs: number[];
  times: number;
}

export class Quarantine {
  readonly #clock: Clock;
  readonly #offenders = new Map<string, Offender>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @returns for how long the model is out from now on; undefined when it is not. */
  crashed(modelKey: string): number | undefined {
    const nowMs = this.#clock.monotonic();
    const offender = this.#offender(modelKey, nowMs);
    offender.crashedAtMs = [...offender.crashedAtMs.filter((atMs) => nowMs - atMs < WINDOW_MS), nowMs];
    if (offender.crashedAtMs.length < MAX_CRASHES) return undefined;
    offender.crashedAtMs = [nowMs];
    offender.times += 1;
    return Math.min(LONGEST_MS, FIRST_MS * 2 ** (offender.times - 1));
  }

  forget(modelKey: string): void {
    this.#offenders.delete(modelKey);
  }

  #offender(modelKey: string, nowMs: number): Offender {
    const known = this.#offenders.get(modelKey);
    const lastMs = known?.crashedAtMs.at(-1) ?? Number.NEGATIVE_INFINITY;
    if (known !== undefined && nowMs - lastMs < LONGEST_MS + WINDOW_MS) return known;
    const offender = { crashedAtMs: [], times: 0 };
    this.#offenders.set(modelKey, offender);
    return offender;
  }
}
