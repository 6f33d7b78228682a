/**
 * Whether a worker is to be spared, because it fails or because it has fallen silent.
 *
 * | state   | takes                          | leaves it                                                              |
 * | ------- | ------------------------------ | ---------------------------------------------------------------------- |
 * | trusted | tasks, up to its credit        | failures in a row, or too many → ejected                               |
 * | ejected | nothing                        | its time is over → probed                                              |
 * | probed  | copies, one at a time          | good answers in a row → trusted, from a credit of 1 on; a failure → ejected, for twice as long |
 *
 * One that has just been trusted again starts slowly: its credit is 1, and doubles with every good answer. Silence is a matter of its
 * own: a ping that has been out for too long, with no sign of life since, makes a worker *silent* until the next sign.
 */

import type { Random } from "@legacygpu/shared/clock";

const SUCCESS_GAIN = 0.15;
const FAILURE_TIME_GAIN = 0.2;
const FAILURES_IN_A_ROW = 3;
const LEAST_SUCCESS_RATE = 0.5;
/** Above it nothing is added to the price. */
const GOOD_SUCCESS_RATE = 0.985;
const EJECTION_MS = 1000;
const MAX_EJECTIONS = 5;
/** Each such time without an ejection halves the next one. */
const FORGIVEN_AFTER_MS = 60_000;
const PROBES = 3;
const FULL_RAMP = 64;
const SILENCE_MS = 600;
const UNPROVEN_FAILURE_RATE = 0.01;
/** What a failure costs the client when the task can be tried again, and when it cannot. */
const RETRY_COST_MS = 600;
const LAST_ATTEMPT_COST_MS = 30_000;

export class WorkerHealth {
  #successRate = 1;
  #failuresInARow = 0;
  #failureMs: number | undefined;
  #ejections = 0;
  #ejectedAtMs = Number.NEGATIVE_INFINITY;
  #ejectedUntilMs = 0;
  /** 0: it is trusted. */
  #probesLeft = 0;
  #ramp = FULL_RAMP;
  #pingedAtMs = 0;
  #heardAtMs: number;
  #succeededAtMs = Number.NEGATIVE_INFINITY;
  isSilent = false;

  constructor(nowMs: number) {
    this.#heardAtMs = nowMs;
  }

  get isTrusted(): boolean {
    return this.#probesLeft === 0;
  }

  /** How many attempts it may hold while it starts slowly; undefined: it has started. */
  get rampCredit(): number | undefined {
    return this.#ramp >= 8 ? undefined : this.#ramp;
  }

  isProbeDue(nowMs: number): boolean {
    return this.#probesLeft > 0 && nowMs >= this.#ejectedUntilMs;
  }

  /**
   * Whether nothing is to be feared of it.
   *
   * @param failedSinceMs when the task failed elsewhere. Failures come in groups (a site, a driver, a bad day): who has done something well since
   * then is the safer choice.
   */
  isFlawless(failedSinceMs: number | undefined): boolean {
    return this.#successRate >= GOOD_SUCCESS_RATE && !this.#isUnproven(failedSinceMs);
  }

  /** What its failures are expected to cost a task, over and above. */
  failureCostMs(
    expectedMs: number,
    rttMs: number,
    task: { readonly isLastAttempt: boolean; readonly firstFailedAtMs: number | undefined },
  ): number {
    const then = task.isLastAttempt ? LAST_ATTEMPT_COST_MS : RETRY_COST_MS;
    const unproven = this.#isUnproven(task.firstFailedAtMs) ? UNPROVEN_FAILURE_RATE : 0;
    return (1 - this.#successRate + unproven) * ((this.#failureMs ?? 0) + rttMs + 2 * expectedMs + then);
  }

  /**
   * @param atMs when it did well: half a round trip before the answer came
   * @param sentAtMs what it had before it was ejected proves nothing
   * @returns whether it is trusted again by this.
   */
  succeeded(atMs: number, sentAtMs: number): boolean {
    this.#succeededAtMs = atMs;
    this.#successRate += SUCCESS_GAIN * (1 - this.#successRate);
    this.#failuresInARow = 0;
    this.#ramp = Math.min(FULL_RAMP, this.#ramp * 2);
    if (this.#probesLeft === 0 || sentAtMs <= this.#ejectedAtMs) return false;
    this.#probesLeft -= 1;
    if (this.#probesLeft > 0) return false;
    this.#successRate = 0.98;
    this.#ramp = 1;
    return true;
  }

  /**
   * @param sentAtMs what it had when it was ejected fails with it, and does not count twice
   * @returns whether it is to be ejected; see {@link eject}.
   */
  failed(afterMs: number, sentAtMs: number): boolean {
    this.#successRate -= SUCCESS_GAIN * this.#successRate;
    this.#failuresInARow += 1;
    this.#failureMs =
      this.#failureMs === undefined
        ? afterMs
        : this.#failureMs + FAILURE_TIME_GAIN * (afterMs - this.#failureMs);
    if (this.#probesLeft > 0) return sentAtMs > this.#ejectedAtMs;
    return this.#failuresInARow >= FAILURES_IN_A_ROW || this.#successRate < LEAST_SUCCESS_RATE;
  }

  /** @returns for how long, in milliseconds. */
  eject(nowMs: number, random: Random): number {
    const forgiven = Math.floor(Math.max(0, nowMs - this.#ejectedUntilMs) / FORGIVEN_AFTER_MS);
    this.#ejections = Math.min(Math.max(0, this.#ejections - forgiven) + 1, MAX_EJECTIONS);
    this.#ejectedAtMs = nowMs;
    const forMs = EJECTION_MS * 2 ** this.#ejections * (0.9 + 0.2 * random());
    this.#ejectedUntilMs = nowMs + forMs;
    this.#probesLeft = PROBES;
    this.#failuresInARow = 0;
    return forMs;
  }

  heard(nowMs: number): void {
    this.#heardAtMs = nowMs;
  }

  pinged(nowMs: number): void {
    if (this.#heardAtMs >= this.#pingedAtMs) this.#pingedAtMs = nowMs;
  }

  /** How long a ping has gone unanswered, with no other sign of life, in units of what can be expected. Above 1 it is silent. */
  silence(nowMs: number, rttMs: number, deviationMs: number): number {
    if (this.#heardAtMs >= this.#pingedAtMs) return 0;
    return (nowMs - this.#pingedAtMs) / Math.max(SILENCE_MS, 2 * rttMs + 8 * deviationMs);
  }

  #isUnproven(failedSinceMs: number | undefined): boolean {
    return failedSinceMs !== undefined && this.#succeededAtMs < failedSinceMs;
  }
}
