/** What a gateway asks for that is there and has no room now: to come again after a while (429 and 503 with `Retry-After`). */

import type { Backoff } from "@legacygpu/shared/backoff";
import type { LegacyGpuError } from "@legacygpu/shared/errors";

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** Longer waits are for those who pay by the day; a box that is cut off for a wrong number in a header would be out for as long. */
const CAP_MS = 30_000;

/**
 * `Retry-After` in seconds, or as a date: counted from the date of the answer, because our own clock may be wrong.
 *
 * @returns details for the error that this answer becomes.
 */
export function askedWait(status: number, headers: Headers): { readonly retryAfterMs?: number } {
  const value = headers["retry-after"];
  if ((status !== 429 && status !== 503) || typeof value !== "string") return {};
  const retryAfterMs = /^\d+$/.test(value.trim())
    ? Number(value) * 1000
    : Date.parse(value) - Date.parse(String(headers.date));
  return Number.isFinite(retryAfterMs) ? { retryAfterMs: Math.max(retryAfterMs, 0) } : {};
}

/** At most half a minute; undefined when the answer did not say. */
export function askedWaitMs({ details }: LegacyGpuError): number | undefined {
  const { retryAfterMs } = details;
  return typeof retryAfterMs === "number" ? Math.min(retryAfterMs, CAP_MS) : undefined;
}

/** Never before the gateway asked for; the backoff on top of that spreads those who were all told the same. */
export function delayAfterMs(error: LegacyGpuError, backoff: Backoff): number {
  const delayMs = backoff.nextMs();
  const askedMs = askedWaitMs(error);
  return askedMs === undefined ? delayMs : Math.min(askedMs + delayMs, CAP_MS);
}

/** Whether `later` says nothing that `earlier` did not say. A refusal names another number of seconds each time. */
export function isRepeated(earlier: LegacyGpuError | undefined, later: LegacyGpuError): boolean {
  if (earlier?.code !== later.code) return false;
  if (earlier.message === later.message) return true;
  return askedWaitMs(earlier) !== undefined && askedWaitMs(later) !== undefined;
}
