/** Why a task that waits in the queue is not sent to anybody, in a sentence for a person. */

import type { WireError } from "@legacygpu/shared/errors";
import type { ModelRef } from "@legacygpu/shared/protocol/messages";
import type { Worker } from "../registry/worker.ts";
import { modelKey } from "../tasks/record.ts";

/** More would not be read. */
const MAX_NAMED_WORKERS = 5;

export function waitingReason(
  workers: readonly Worker[],
  model: ModelRef,
  tasksAhead: number,
  lastError: WireError | undefined,
  nowMs: number,
): string {
  if (workers.length === 0) return "No worker is connected; start one with `legacygpu worker start`.";
  const healthy = workers.filter((worker) => worker.state === "HEALTHY");
  if (healthy.length === 0) {
    const states = workers.map((worker) => `${worker.id} is ${worker.state} (${worker.cause})`);
    return `No worker takes tasks now: ${states.slice(0, MAX_NAMED_WORKERS).join(", ")}.`;
  }
  if (!healthy.some((worker) => worker.canRun(model, nowMs))) {
    return `No worker can run ${modelKey(model)}: ${lastError?.message ?? "it could not be loaded"}`;
  }
  const busy = healthy.length === 1 ? "The only worker is busy" : `All ${healthy.length} workers are busy`;
  return `${busy}; ${tasksAhead} ${tasksAhead === 1 ? "task is" : "tasks are"} ahead.`;
}
