/** How often a webhook is tried and how long the waits are: three days in all, dense at first. */

import type { WebhookMessageType } from "@legacygpu/shared/api/webhooks";
import type { Random } from "@legacygpu/shared/clock";

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const MAX_RETRY_AFTER_MS = 24 * HOUR_MS;
/** Part of a wait that is drawn on top of it, so that what failed together does not come back together. */
const JITTER = 0.1;

/** After the first try, the second, … */
export const RETRY_DELAYS_MS: readonly number[] = [
  5 * SECOND_MS,
  5 * MINUTE_MS,
  30 * MINUTE_MS,
  2 * HOUR_MS,
  5 * HOUR_MS,
  10 * HOUR_MS,
  14 * HOUR_MS,
  20 * HOUR_MS,
  24 * HOUR_MS,
];

/** Whoever asks for a test is waiting for its outcome, whatever that is. */
export function maxTriesOf(event: WebhookMessageType): number {
  return event === "webhook.test" ? 1 : RETRY_DELAYS_MS.length + 1;
}

/** @param tries how many have failed. @param retryAfterMs never less than this. */
export function delayAfterMs(tries: number, retryAfterMs: number, random: Random): number {
  const delayMs = RETRY_DELAYS_MS[Math.min(tries, RETRY_DELAYS_MS.length) - 1] ?? 0;
  return Math.round(Math.max(delayMs, retryAfterMs) * (1 + JITTER * random()));
}

/** Of the header `Retry-After`: seconds or a date; at most a day. 0: nothing that can be understood. */
export function parseRetryAfterMs(header: string | undefined, nowMs: number): number {
  if (header === undefined) return 0;
  const askedMs = /^\d+$/.test(header) ? Number(header) * SECOND_MS : Date.parse(header) - nowMs;
  return Number.isNaN(askedMs) ? 0 : Math.min(Math.max(askedMs, 0), MAX_RETRY_AFTER_MS);
}
