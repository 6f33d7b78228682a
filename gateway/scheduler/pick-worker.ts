/** Which worker may take a task now: able, with credit, preferably one that has not failed this task before. */

import type { ModelRef } from "@legacygpu/shared/protocol/messages";
import type { Balancer } from "../balancers/balancer.ts";
import type { Worker } from "../registry/worker.ts";

/**
 * @returns undefined when the task has to wait. It waits for a busy worker that has not tried it rather than go back to one that has; when every
 * worker has tried it, any will do.
 */
export function pickWorker(
  workers: Iterable<Worker>,
  balancer: Balancer,
  model: ModelRef,
  triedWorkerIds: ReadonlySet<string>,
  nowMs: number,
): Worker | undefined {
  const fresh: Worker[] = [];
  const tried: Worker[] = [];
  let isFreshOneBusy = false;
  for (const worker of workers) {
    if (worker.state !== "HEALTHY" || !worker.canRun(model, nowMs)) continue;
    const isTried = triedWorkerIds.has(worker.id);
    if (worker.isOpen) (isTried ? tried : fresh).push(worker);
    else if (!isTried) isFreshOneBusy = true;
  }
  if (fresh.length > 0) return balancer.choose(fresh);
  return tried.length > 0 && !isFreshOneBusy ? balancer.choose(tried) : undefined;
}
