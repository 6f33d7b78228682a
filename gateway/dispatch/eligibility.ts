/** Which workers a task may go to at all, whatever they cost. */

import type { FleetWorker } from "./fleet-worker.ts";
import type { DispatcherOptions, DispatchTask } from "./ports.ts";

/** Of those that meet what the task requires: whether this one may have it, now. */
export function isWelcome(
  options: DispatcherOptions,
  worker: FleetWorker,
  task: DispatchTask,
  nowMs: number,
): boolean {
  return task.triedWorkerIds?.has(worker.id) !== true && mayHold(options, worker, task, nowMs);
}

/** Whether a worker can have the task at all: tried or not, well or not, busy or not. */
export function isPossible(options: DispatcherOptions, worker: FleetWorker, task: DispatchTask): boolean {
  return (
    worker.isAvailable &&
    mayHold(options, worker, task, options.clock.monotonic()) &&
    options.isAble(worker, task)
  );
}

function mayHold(
  options: DispatcherOptions,
  worker: FleetWorker,
  { model }: DispatchTask,
  nowMs: number,
): boolean {
  return !worker.hasRefused(model, nowMs) && options.replicasOf?.(model)?.has(worker.id) !== false;
}
