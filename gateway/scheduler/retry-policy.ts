/**
 * What follows when an attempt has failed: another one, where and when, or the end of the task.
 *
 * | cause                                                | another attempt                                                              |
 * | ---------------------------------------------------- | ---------------------------------------------------------------------------- |
 * | the worker was lost                                  | at once, elsewhere; when it is lost again, after a wait                       |
 * | the worker cannot take it (draining, full)           | at once, elsewhere; does not count                                           |
 * | the runner crashed, a transfer or a model load failed | after a wait, elsewhere; a second crash of its runner ends it (`task_poisonous`) |
 * | out of memory                                        | after a wait, on a worker with more memory                                   |
 * | the model failed while it computed                   | at once, elsewhere: it may be the card. A second failure ends it             |
 * | the input or the model is wrong, a time is over      | never                                                                        |
 *
 * Waits grow exponentially with full jitter: drawn between 0 and a bound that doubles each time. Copies that were made beside another attempt
 * cost the task no try; only a runner that a copy killed is one killed.
 */

import type { Random } from "@legacygpu/shared/clock";
import { fail, toWireError, type WireError } from "@legacygpu/shared/errors";
import type { RetryCause } from "@legacygpu/shared/task";
import { countedAttempts, currentAttempts, ordinaryAttempts, type TaskRecord } from "../tasks/record.ts";

/** A task that never gets as far as being run is not sent around for ever. */
const MAX_SENDS = 20;
const MAX_BACKOFF_MS = 60_000;
const MAX_RUNNERS_KILLED = 2;

export type Verdict =
  | {
      readonly kind: "retry";
      readonly delayMs: number;
      /** Whether it spends from the budget of retries: not when nothing was computed in vain. */
      readonly isCharged: boolean;
    }
  | { readonly kind: "end"; readonly error: WireError; readonly isDeadLetter: boolean };

const CAUSES: Readonly<Record<string, RetryCause | "refused">> = {
  worker_lost: "worker_lost",
  worker_draining: "refused",
  queue_full: "refused",
  runner_crashed: "runner_crashed",
  out_of_memory: "out_of_memory",
  model_load_failed: "model_load_failed",
  model_not_announced: "model_load_failed",
  disk_full: "model_load_failed",
  transfer_failed: "transfer_failed",
  model_run_failed: "model_run_failed",
};

/** @param task none of whose attempts is live; the latest that was lost with its worker is still open. */
export function afterFailure(task: TaskRecord, error: WireError, random: Random): Verdict {
  const cause = CAUSES[error.code];
  if (cause === undefined) return { kind: "end", error, isDeadLetter: false };
  const sends = ordinaryAttempts(task).length;
  if (cause === "refused" && sends < MAX_SENDS) return { kind: "retry", delayMs: 0, isCharged: false };
  if (cause !== "refused" && task.retryOn?.includes(cause) === false)
    return { kind: "end", error: { ...error, retryable: false }, isDeadLetter: true };
  if (cause === "model_run_failed" && hasFailedTwice(task))
    return { kind: "end", error, isDeadLetter: false };
  const poison = poisoned(task);
  if (poison !== undefined) return { kind: "end", error: poison, isDeadLetter: true };
  if (countedAttempts(task) >= task.maxAttempts || sends >= MAX_SENDS)
    return { kind: "end", error: givenUp(sends, error), isDeadLetter: true };
  if (cause === "worker_lost" && losses(task) === 0) return { kind: "retry", delayMs: 0, isCharged: false };
  if (cause === "model_run_failed") return { kind: "retry", delayMs: 0, isCharged: true };
  return { kind: "retry", delayMs: backoffMs(task, sends, random), isCharged: cause !== "worker_lost" };
}

function backoffMs(task: TaskRecord, sends: number, random: Random): number {
  const boundMs = task.backoffMs * 2 ** Math.max(0, sends - 1);
  return random() * Math.min(boundMs, MAX_BACKOFF_MS);
}

/** Before this one. */
function losses(task: TaskRecord): number {
  return ordinaryAttempts(task).filter(({ outcome }) => outcome === "worker_lost").length;
}

function givenUp(sends: number, error: WireError): WireError {
  const message = `${error.message} (attempt ${sends}, no more are made)`;
  return { ...error, message, retryable: false };
}

/** Two cards that fail alike are not broken: the model or its input is. */
function hasFailedTwice(task: TaskRecord): boolean {
  return currentAttempts(task).filter(({ error }) => error?.code === "model_run_failed").length > 1;
}

function poisoned(task: TaskRecord): WireError | undefined {
  const kills = currentAttempts(task).filter(({ error }) => error?.code === "runner_crashed");
  if (kills.length < MAX_RUNNERS_KILLED) return undefined;
  const causes = kills.map(({ workerId, error }) => `on ${workerId}: ${error?.message ?? "unknown"}`);
  const message = `The task killed ${kills.length} runners and is not run again. ${causes.join(" · ")}`;
  return toWireError(fail("task_poisonous", message, { causes }));
}
