/**
 * What of a worker's word on an attempt's time is taken: never more than the attempt took. It is what tenants are charged for, and what every
 * prediction is learned from, so one worker that says a year must not cost more than the time it had.
 */

import type { AttemptTimings } from "@legacygpu/shared/protocol/messages";
import { serviceMs } from "../registry/answer.ts";
import type { AttemptRecord } from "../tasks/record.ts";

/** No two clocks agree on less. */
const SLACK_MS = 5;

/** How long an attempt has had by now. One that was claimed had its time before it came back. */
export function heldMs(
  { record, sentAtMs }: { readonly record: AttemptRecord; readonly sentAtMs: number },
  clock: { now(): number; monotonic(): number },
): number {
  return Math.max(clock.monotonic() - sentAtMs, clock.now() - record.startedAtMs);
}

/** @param tookMs from its sending to its answer. @returns the same shares, of that at most. */
export function believable(timings: AttemptTimings, tookMs: number): AttemptTimings {
  const mostMs = Math.max(0, tookMs) + SLACK_MS;
  const claimedMs = timings.queuedMs + Math.max(timings.fetchMs, timings.loadMs) + serviceMs(timings);
  if (claimedMs <= mostMs) return timings;
  // Each by itself first: the sum of what was claimed need not be a number that can be divided by.
  const most = (ms: number): number => Math.min(ms, mostMs);
  const { queuedMs, fetchMs, loadMs, preprocessMs, executeMs, postprocessMs } = timings;
  const sumMs =
    most(queuedMs) +
    Math.max(most(fetchMs), most(loadMs)) +
    most(preprocessMs) +
    most(executeMs) +
    most(postprocessMs);
  const share = (ms: number): number => most(ms) * (mostMs / sumMs);
  return {
    queuedMs: share(queuedMs),
    fetchMs: share(fetchMs),
    loadMs: share(loadMs),
    preprocessMs: share(preprocessMs),
    executeMs: share(executeMs),
    postprocessMs: share(postprocessMs),
    batchSize: timings.batchSize,
    concurrency: timings.concurrency,
  };
}
