/** Where the time of a task went, once it was answered. */

import type { AttemptTimings } from "@legacygpu/shared/protocol/messages";
import type { TaskTimings } from "../tasks/record.ts";

/** Monotonic times of one attempt. */
export interface AttemptTimes {
  /** The latest time that its task entered the queue. */
  readonly queuedAtMs: number;
  readonly sentAtMs: number;
  readonly nowMs: number;
}

export function taskTimings(onWorker: AttemptTimings, times: AttemptTimes): TaskTimings {
  const { queuedMs, fetchMs, loadMs, preprocessMs, executeMs, postprocessMs } = onWorker;
  const workerMs = queuedMs + fetchMs + loadMs + preprocessMs + executeMs + postprocessMs;
  return {
    onWorker,
    queueMs: Math.max(0, times.sentAtMs - times.queuedAtMs),
    networkMs: Math.max(0, times.nowMs - times.sentAtMs - workerMs),
  };
}
