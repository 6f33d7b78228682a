/** Waits for something at the gateway to end by asking again and again, through drops of the network and restarts of the gateway. */

import type { TaskJson } from "@legacygpu/shared/api/tasks";
import { sleep } from "@legacygpu/shared/clock";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import { Patience, type WaitTools } from "./patience.ts";

export interface WaitOptions<Document = TaskJson> {
  /** Default: as long as it takes. What is waited for goes on when the time is up. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Called with the first answer, and whenever what it tells has changed. */
  readonly onUpdate?: (now: Document) => void;
  /** Called for each failure that is bridged by trying again. */
  readonly onTrouble?: (error: LegacyGpuError) => void;
}

/** What is waited for. */
export interface Awaited<Document> {
  /** Such as `Task task_…`, for messages. */
  readonly name: string;
  readonly details: Readonly<Record<string, unknown>>;
  /** Between the beginnings of two polls at least, should a gateway not hold them. */
  readonly minPollMs: number;
  /** Asks once, without retries. @returns undefined when nothing has changed since the poll before. */
  poll(signal: AbortSignal): Promise<Document | undefined>;
  hasEnded(now: Document): boolean;
  hasChanged(before: Document, now: Document): boolean;
  /** Such as `PENDING: no healthy worker`. */
  describe(now: Document): string;
}

/** @throws `timed_out` after `timeoutMs`; `signal.reason` when aborted. */
export async function waitUntilEnded<Document extends { readonly status: string }>(
  awaited: Awaited<Document>,
  { timeoutMs, signal: callers, onUpdate, onTrouble }: WaitOptions<Document>,
  tools: WaitTools,
): Promise<Document> {
  const { clock } = tools;
  const stop = new AbortController();
  const signal = callers === undefined ? stop.signal : AbortSignal.any([callers, stop.signal]);
  const patience = new Patience(tools, onTrouble);
  let latest: Document | undefined;
  const timer =
    timeoutMs === undefined
      ? undefined
      : clock.after(timeoutMs, () => stop.abort(tooLate(awaited, timeoutMs, latest)));
  try {
    for (;;) {
      signal.throwIfAborted();
      const startedAtMs = clock.monotonic();
      const now = await pollPatiently(awaited, patience, signal);
      if (now !== undefined) {
        if (latest === undefined || awaited.hasChanged(latest, now)) onUpdate?.(now);
        if (awaited.hasEnded(now)) return now;
        latest = now;
      }
      const earlyMs = awaited.minPollMs - (clock.monotonic() - startedAtMs);
      if (earlyMs > 0) await sleep(clock, earlyMs, signal);
    }
  } finally {
    timer?.cancel();
  }
}

/** @returns undefined also after a failure that was waited out. */
async function pollPatiently<Document>(
  { poll }: Awaited<Document>,
  patience: Patience,
  signal: AbortSignal,
): Promise<Document | undefined> {
  try {
    const now = await poll(signal);
    patience.refresh();
    return now;
  } catch (error) {
    await patience.waitOut(error, signal);
    return undefined;
  }
}

function tooLate<Document extends { readonly status: string }>(
  { name, details, describe }: Awaited<Document>,
  timeoutMs: number,
  latest: Document | undefined,
): LegacyGpuError {
  const state = latest === undefined ? "" : ` It is ${describe(latest)}.`;
  return fail("timed_out", `${name} did not end within ${timeoutMs} ms and goes on.${state}`, {
    ...details,
    timeout_ms: timeoutMs,
    ...(latest === undefined ? {} : { status: latest.status }),
  });
}
