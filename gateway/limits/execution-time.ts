/** How long workers worked on a task for its owner: what is charged as GPU time. */

import { RETRY_CAUSES } from "@legacygpu/shared/task";
import { type AttemptRecord, currentAttempts, type TaskRecord } from "../tasks/record.ts";

const CAUSES_OF_THE_SYSTEM: ReadonlySet<string> = new Set(
  RETRY_CAUSES.filter((cause) => cause !== "model_run_failed"),
);

/**
 * Since it was submitted, or since its owner asked for another try.
 *
 * The worker says how long it ran the model for a result. No worker says so of an attempt without one: from its beginning to its end is
 * charged when the owner, the input or the model ended it, and nothing when the system is at fault, or made it beside another one.
 */
export function executionMs(task: TaskRecord): number {
  let totalMs = 0;
  for (const attempt of currentAttempts(task)) {
    if (attempt.outcome === "completed") totalMs += ownMs(task);
    else if (!isAffairOfTheSystem(attempt)) totalMs += heldMs(attempt);
  }
  return totalMs;
}

/** Tasks that ran as one share the time of that run. */
function ownMs({ timings }: TaskRecord): number {
  const { executeMs = 0, batchSize = 1 } = timings?.onWorker ?? {};
  return executeMs / batchSize;
}

function isAffairOfTheSystem({ outcome, error, purpose }: AttemptRecord): boolean {
  if (purpose !== undefined || outcome === "superseded") return true;
  return outcome === "worker_lost" || (error !== undefined && CAUSES_OF_THE_SYSTEM.has(error.code));
}

function heldMs({ acceptedAtMs, endedAtMs }: AttemptRecord): number {
  if (acceptedAtMs === undefined || endedAtMs === undefined) return 0;
  // The wall clock may have been set back meanwhile.
  return Math.max(0, endedAtMs - acceptedAtMs);
}
