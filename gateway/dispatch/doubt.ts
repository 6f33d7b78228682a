/**
 * Whether what a worker says of its speed agrees with what is seen of it.
 *
 * From the moment at which a task can have begun there until its answer, the worker has had the slot. What it does not say it computed it must
 * explain by the line, and a line is not slow many times in a row by several times the computing. A worker that goes on like that is
 * taken to be as slow as it looks, or it would be sent every task for having called itself fast.
 */

import type { Flight } from "./flight.ts";
import { type Report, SMALL_INPUT_BYTES } from "./ports.ts";

/** Of what it says; from there on it is doubted. */
const FACTOR = 4;
const MARGIN_MS = 20;
/** In a row, of each slot: a line that stood still delays what was under way, and that is one of each. */
const ANSWERS = 8;
/** No two clocks agree on less. */
const CLOCK_SLACK_MS = 5;

export class Doubt {
  #inARow = 0;

  /**
   * @param saidMs how long the worker says that it computed
   * @param seenMs how long it had the slot, as far as can be seen
   * @param jitterMs of the line
   * @returns how long it is taken to have computed
   */
  believedMs(
    saidMs: number,
    seenMs: number,
    { jitterMs, slots }: { jitterMs: number; slots: number },
  ): number {
    const isOdd = seenMs - saidMs > FACTOR * (saidMs + jitterMs) + MARGIN_MS;
    this.#inARow = isOdd ? this.#inARow + 1 : 0;
    return this.#inARow > ANSWERS * slots ? seenMs : saidMs;
  }
}

/** Of small tasks alone: how long a large one was on the line is not known so well. */
export function believedMs({ worker, task, run }: Flight, report: Report, nowMs: number): number {
  const { executeMs, outputBytes = 0 } = report;
  const isSmall = task.inputBytes <= SMALL_INPUT_BYTES && outputBytes <= SMALL_INPUT_BYTES;
  if (!report.isOk || run === undefined || !isSmall) return executeMs;
  const seenMs = nowMs - worker.oneWayMs - run.startMs - report.loadMs;
  const { path, slots } = worker.facts;
  return worker.doubt.believedMs(executeMs, seenMs, { jitterMs: path.deviationMs, slots });
}

/** More than an attempt took, nothing in it took; and of one that was claimed we do not know how long it took. */
export function fitsInto(tookMs: number, { queuedMs, loadMs, executeMs }: Report): boolean {
  return queuedMs + loadMs + executeMs <= tookMs + CLOCK_SLACK_MS;
}
