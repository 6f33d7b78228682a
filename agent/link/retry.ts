/** Tries again what travels beside the link. An outage of the link costs no try: it says nothing about what was tried. */

import { Backoff, type BackoffOptions } from "@legacygpu/shared/backoff";
import { type Clock, type Random, sleep } from "@legacygpu/shared/clock";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import type { LinkGate } from "./gate.ts";
import { delayAfterMs } from "./retry-after.ts";

export interface RetryOptions {
  readonly tries: number;
  readonly backoff: BackoffOptions;
  readonly gate: LinkGate;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
  explain(error: unknown): Failure;
}

export interface Failure {
  readonly error: LegacyGpuError;
  /** Another try may succeed. */
  readonly isPassing: boolean;
}

/**
 * Waits for a link before each try. A gateway that comes back does not know an attempt before the greeting has named it, so not even a final
 * answer is believed when the link changed meanwhile.
 */
export async function retrying<Value>(work: () => Promise<Value>, options: RetryOptions): Promise<Value> {
  const { gate, clock, random, signal } = options;
  const backoff = new Backoff(options.backoff, random);
  for (let left = options.tries; ; ) {
    await gate.passed(signal);
    const { link } = gate;
    try {
      return await work();
    } catch (error) {
      const failure = options.explain(error);
      if (signal.aborted) throw failure.error;
      if (gate.link !== link) continue;
      left -= 1;
      if (left === 0 || !failure.isPassing) throw failure.error;
      await sleep(clock, delayAfterMs(failure.error, backoff), signal);
    }
  }
}
