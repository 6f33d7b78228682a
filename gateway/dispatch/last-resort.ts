/** Who may have a task that nobody better is left for. */

import { isPossible } from "./eligibility.ts";
import type { Fleet } from "./fleet.ts";
import type { FleetWorker } from "./fleet-worker.ts";
import type { DispatcherOptions, DispatchTask } from "./ports.ts";

/**
 * When everybody who could run the task is being spared, one of those has to try; when everybody has failed it, whoever is free may try again. It
 * waits for a busy worker rather than come to that.
 */
export function lastResort(
  options: DispatcherOptions,
  fleet: Fleet,
  task: DispatchTask,
): FleetWorker | undefined {
  const possible = fleet.workers.filter((worker) => isPossible(options, worker, task));
  const untried = possible.filter(({ id }) => task.triedWorkerIds?.has(id) !== true);
  const wanted = untried.length > 0 ? untried : possible;
  if (!wanted.some(({ isUsable }) => isUsable))
    return wanted.find(({ flights, facts }) => flights.length === 0 && facts.canSend);
  if (untried.length > 0) return undefined;
  return wanted.find(
    ({ isUsable, flights, slots, facts }) => isUsable && flights.length < slots && facts.canSend,
  );
}
