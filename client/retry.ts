/**
 * When a request is sent again, and after how long.
 *
 * | what failed                                   | idempotent | other POST                  | result of a task |
 * | the connection, nothing was sent              | again      | again                       | again            |
 * | refused before it was accepted (429, 503)     | again      | again                       | again            |
 * | the connection, the request may have arrived  | again      | never: it may have happened | again            |
 * | no answer in time                             | again      | never: the same             | again            |
 * | any other error marked retryable              | again      | never                       | never: it is how the task failed |
 * | everything else                               | never      | never                       | never            |
 *
 * Idempotent are GET, PUT, DELETE, cancelling, and every POST that carries an idempotency key: with it the gateway gives the first answer again.
 */

import { Backoff } from "@legacygpu/shared/backoff";
import { type Clock, type Random, sleep } from "@legacygpu/shared/clock";
import { type ErrorCode, LegacyGpuError } from "@legacygpu/shared/errors";

export interface RetryPolicy {
  /** How often a request is sent at most. Default 5. */
  readonly maxTries: number;
  /** Ceiling of the first delay; it doubles with every try. Default 200 ms. */
  readonly baseMs: number;
  /** Ceiling of all delays. Default 5 s. */
  readonly capMs: number;
  /** A longer `Retry-After` than this ends the tries. Default 60 s. */
  readonly maxRetryAfterMs: number;
}

export const DEFAULT_RETRY: RetryPolicy = { maxTries: 5, baseMs: 200, capMs: 5000, maxRetryAfterMs: 60_000 };

const REFUSED_BEFORE_ACCEPTED: ReadonlySet<ErrorCode> = new Set([
  "queue_full",
  "key_queue_full",
  "rate_limited",
  "gateway_draining",
]);
/** Codes that the SDK itself makes when no answer came. */
const UNANSWERED: ReadonlySet<ErrorCode> = new Set(["gateway_unreachable", "timed_out"]);

export interface Repeatability {
  readonly isIdempotent: boolean;
  /** An error may be the very thing that was asked for, such as how a task failed. Default false. */
  readonly isErrorAnAnswer?: boolean;
}

export function mayRetry(
  error: unknown,
  { isIdempotent, isErrorAnAnswer = false }: Repeatability,
): error is LegacyGpuError {
  if (!(error instanceof LegacyGpuError) || !error.retryable) return false;
  if (error.details.request_sent === false || REFUSED_BEFORE_ACCEPTED.has(error.code)) return true;
  return isIdempotent && (!isErrorAnAnswer || UNANSWERED.has(error.code));
}

/** What the gateway asked for with `Retry-After`; 0 when it asked for nothing. */
export function retryAfterMs(error: unknown): number {
  const asked = error instanceof LegacyGpuError ? error.details.retry_after_ms : undefined;
  return typeof asked === "number" ? asked : 0;
}

export interface RetryTools {
  readonly policy: RetryPolicy;
  readonly clock: Clock;
  readonly random: Random;
}

/** Runs `attempt` until it succeeds, must not be repeated, or the tries are used up; throws the last error. */
export async function withRetries<Result>(
  { policy, clock, random }: RetryTools,
  repeatability: Repeatability,
  attempt: () => Promise<Result>,
  signal?: AbortSignal,
): Promise<Result> {
  const backoff = new Backoff(policy, random);
  for (let tries = 1; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      const asked = retryAfterMs(error);
      const isLast = tries >= policy.maxTries || asked > policy.maxRetryAfterMs;
      if (isLast || !mayRetry(error, repeatability)) throw error;
      // The jitter comes on top of what was asked: everyone who was refused at once was asked for the same delay.
      await sleep(clock, asked + backoff.nextMs(), signal);
      signal?.throwIfAborted();
    }
  }
}
