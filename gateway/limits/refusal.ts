/** How a limit says no, and how much of it is left: the same on the refusal and on what was let in. */

import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import { z } from "zod";
import type { TokenBucket } from "./token-bucket.ts";

const US_PER_SECOND = 1_000_000;

/** How a request limit stands. */
export interface RateLimitState {
  /** How many requests may come at once after a pause. */
  readonly limit: number;
  readonly remaining: number;
  /** Until all of them may come again. */
  readonly resetSeconds: number;
}

const rateLimitSchema = z.object({ limit: z.number(), remaining: z.number(), resetSeconds: z.number() });

/** Of one limit that does not let a request in now. */
export interface Refusal {
  /** In words: "requests of this key". */
  readonly limit: string;
  /** How much of it there is. */
  readonly allowed: number;
  readonly waitUs: number;
  readonly rateLimit?: RateLimitState | undefined;
}

export function rateLimited({ limit, allowed, waitUs, rateLimit }: Refusal): LegacyGpuError {
  const retryAfterSeconds = wholeSeconds(waitUs);
  const message = `The limit on ${limit} is used up; there is room again in ${retryAfterSeconds} s.`;
  const details = { limit, allowed, retryAfterSeconds };
  return fail("rate_limited", message, rateLimit === undefined ? details : { ...details, rateLimit });
}

/** The fields of draft-ietf-httpapi-ratelimit-headers that clients have learnt to read. */
export function rateLimitHeaders({ limit, remaining, resetSeconds }: RateLimitState): Record<string, string> {
  return {
    "ratelimit-limit": String(limit),
    "ratelimit-remaining": String(remaining),
    "ratelimit-reset": String(resetSeconds),
  };
}

/** How the limit stands that an error tells of, if it tells of one. */
export function rateLimitOf({ code, details }: LegacyGpuError): RateLimitState | undefined {
  if (code !== "rate_limited") return undefined;
  const parsed = rateLimitSchema.safeParse(details.rateLimit);
  return parsed.success ? parsed.data : undefined;
}

/** @returns undefined when there is room for one more. */
export function refusalOf(bucket: TokenBucket, limit: string, nowUs: number): Refusal | undefined {
  const waitUs = bucket.waitUs(1, nowUs);
  return waitUs === 0 ? undefined : { limit, allowed: bucket.burst, waitUs };
}

export function stateOf(bucket: TokenBucket, nowUs: number): RateLimitState {
  return {
    limit: bucket.burst,
    remaining: bucket.remaining(nowUs),
    resetSeconds: Math.ceil(bucket.fullInUs(nowUs) / US_PER_SECOND),
  };
}

/** At least one: nobody is told to come back at once. */
export function wholeSeconds(durationUs: number): number {
  return Math.max(1, Math.ceil(durationUs / US_PER_SECOND));
}
