/** Waits for a task to end by long polling, through drops of the network and restarts of the gateway. */

import type { TaskJson } from "@legacygpu/shared/api/tasks";
import { Backoff } from "@legacygpu/shared/backoff";
import { type Clock, type Random, sleep } from "@legacygpu/shared/clock";
import { fail, LegacyGpuError } from "@legacygpu/shared/errors";
import { isFinal } from "@legacygpu/shared/task";
import { DEFAULT_RETRY, mayRetry, retryAfterMs } from "./retry.ts";

export interface WaitOptions {
  /** Default: as long as it takes. The task goes on when the time is up. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Called with the first answer and whenever status, attempt or reason changed. */
  readonly onUpdate?: (task: TaskJson) => void;
  /** Called for each failure that is bridged by trying again. */
  readonly onTrouble?: (error: LegacyGpuError) => void;
}

export interface WaitTools {
  readonly clock: Clock;
  readonly random: Random;
  /** One long poll of at most `waitSeconds`, without retries. */
  poll(id: string, waitSeconds: number, signal: AbortSignal): Promise<TaskJson>;
}

/** One poll, when nobody watches; shorter when somebody does, since a poll answers only at the end of the task. */
const POLL_SECONDS = 30;
const WATCHED_POLL_SECONDS = 1;
/** Between two polls at least, should a gateway not hold them. */
const MIN_POLL_MS = 100;
/** So long the gateway may be away before the wait is given up. */
const PATIENCE_MS = 60_000;

export async function waitForTask(id: string, options: WaitOptions, tools: WaitTools): Promise<TaskJson> {
  const { clock } = tools;
  const stop = new AbortController();
  let latest: TaskJson | undefined;
  const timer =
    options.timeoutMs === undefined
      ? undefined
      : clock.after(options.timeoutMs, () => stop.abort(tooLate(id, options.timeoutMs, latest)));
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  const polls = new Polls(id, options, tools);
  try {
    for (;;) {
      const task = await polls.next(signal);
      if (task === undefined) continue;
      if (hasChanged(latest, task)) options.onUpdate?.(task);
      latest = task;
      if (isFinal(task.status)) return task;
    }
  } finally {
    timer?.cancel();
  }
}

class Polls {
  readonly #id: string;
  readonly #options: WaitOptions;
  readonly #tools: WaitTools;
  readonly #backoff: Backoff;
  #awaySince: number | undefined;

  constructor(id: string, options: WaitOptions, tools: WaitTools) {
    this.#id = id;
    this.#options = options;
    this.#tools = tools;
    this.#backoff = new Backoff(DEFAULT_RETRY, tools.random);
  }

  /** @returns undefined after a failure that was waited out. */
  async next(signal: AbortSignal): Promise<TaskJson | undefined> {
    const { clock, poll } = this.#tools;
    const startedAt = clock.monotonic();
    try {
      const seconds = this.#options.onUpdate === undefined ? POLL_SECONDS : WATCHED_POLL_SECONDS;
      const task = await poll(this.#id, seconds, signal);
      this.#awaySince = undefined;
      this.#backoff.reset();
      const early = MIN_POLL_MS - (clock.monotonic() - startedAt);
      if (early > 0 && !isFinal(task.status)) await sleep(clock, early, signal);
      return task;
    } catch (error) {
      signal.throwIfAborted();
      await this.#waitOut(error, signal);
      return undefined;
    }
  }

  async #waitOut(error: unknown, signal: AbortSignal): Promise<void> {
    const { clock } = this.#tools;
    if (!(error instanceof LegacyGpuError) || !mayRetry(error, { isIdempotent: true })) throw error;
    this.#awaySince ??= clock.monotonic();
    if (clock.monotonic() - this.#awaySince > PATIENCE_MS) throw error;
    this.#options.onTrouble?.(error);
    await sleep(clock, retryAfterMs(error) + this.#backoff.nextMs(), signal);
    signal.throwIfAborted();
  }
}

function hasChanged(before: TaskJson | undefined, now: TaskJson): boolean {
  return (
    before === undefined ||
    before.status !== now.status ||
    before.attempt !== now.attempt ||
    before.reason !== now.reason
  );
}

function tooLate(id: string, timeoutMs: number | undefined, latest: TaskJson | undefined): LegacyGpuError {
  const state =
    latest === undefined ? "" : ` It is ${latest.status}${latest.reason ? `: ${latest.reason}` : ""}.`;
  return fail("timed_out", `Task ${id} did not end within ${timeoutMs} ms and goes on.${state}`, {
    task: id,
    timeout_ms: timeoutMs,
    ...(latest === undefined ? {} : { status: latest.status }),
  });
}
