/**
 * Whether a worker is to be spared because it fails.
 *
 * | state   | leaves it                                                                                  |
 * | ------- | ------------------------------------------------------------------------------------------ |
 * | trusted | several faults in a row → ejected                                                          |
 * | ejected | after a time → probing                                                                     |
 * | probing | it gets one task at a time; success → trusted; a fault → ejected, for twice as long        |
 */

import type { WireError } from "@legacygpu/shared/errors";

const FAULTS_IN_A_ROW = 5;
const EJECTION_MS = 10_000;
const MAX_EJECTION_MS = 300_000;

/** What the machine is to blame for; a failing model or a bad input says nothing about it. */
const MACHINE_FAULTS: ReadonlySet<string> = new Set([
  "runner_crashed",
  "out_of_memory",
  "transfer_failed",
  "internal",
]);

export class Health {
  #faults = 0;
  #ejections = 0;
  /** Monotonic; undefined: trusted. */
  #ejectedUntilMs: number | undefined;

  get isTrusted(): boolean {
    return this.#ejectedUntilMs === undefined;
  }

  /** Whether it may be tried with one task. */
  isProbeDue(nowMs: number): boolean {
    return this.#ejectedUntilMs !== undefined && nowMs >= this.#ejectedUntilMs;
  }

  /** @returns whether it is trusted again by this. */
  success(): boolean {
    this.#faults = 0;
    if (this.isTrusted) return false;
    this.#ejectedUntilMs = undefined;
    this.#ejections = 0;
    return true;
  }

  /** @returns for how long it is ejected by this, if it is. */
  failure(error: WireError, nowMs: number): number | undefined {
    if (!MACHINE_FAULTS.has(error.code)) return undefined;
    this.#faults += 1;
    const isProbe = this.isProbeDue(nowMs);
    if (!isProbe && (this.#faults < FAULTS_IN_A_ROW || !this.isTrusted)) return undefined;
    const durationMs = Math.min(MAX_EJECTION_MS, EJECTION_MS * 2 ** this.#ejections);
    this.#ejections += 1;
    this.#ejectedUntilMs = nowMs + durationMs;
    return durationMs;
  }
}
