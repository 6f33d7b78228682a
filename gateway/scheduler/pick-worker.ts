/** Which worker may take a task now: able, with credit, preferably one that has not failed this task before. */

import type { Balancer } from "../balancers/balancer.ts";
import type { Worker } from "../registry/worker.ts";
import type { Requirements } from "../tasks/record.ts";

/** What this one task has learned the hard way. */
export interface Experience {
  readonly triedWorkerIds: ReadonlySet<string>;
  /** A worker with more memory is wanted, as long as there is one. */
  readonly memoryBytesOver: number;
}

/**
 * @returns undefined when the task has to wait. It waits for a busy worker that has not tried it rather than go back to one that has; when every
 * worker has tried it, any will do. Workers that are being spared because they fail are asked only when there are no others.
 *
 * @param replicas the only ones that may have it; absent: all
 */
export function pickWorker(
  workers: Iterable<Worker>,
  balancer: Balancer,
  requirements: Requirements,
  experience: Experience | undefined,
  now: { readonly wallMs: number; readonly monotonicMs: number },
  replicas?: ReadonlySet<string>,
): Worker | undefined {
  const able: Worker[] = [];
  const degraded: Worker[] = [];
  for (const worker of workers) {
    if (replicas !== undefined && !replicas.has(worker.id)) continue;
    if (!isAble(worker, requirements, now.wallMs)) continue;
    (worker.state === "HEALTHY" || worker.isProbeDue(now.monotonicMs) ? able : degraded).push(worker);
  }
  const isAnyHealthy = able.some(({ state }) => state === "HEALTHY");
  return pickAmong(isAnyHealthy ? able : [...able, ...degraded], balancer, experience);
}

/** Whether the worker can run it at all, busy or not. */
export function isAble(worker: Worker, { model, placement }: Requirements, nowMs: number): boolean {
  if (worker.state !== "HEALTHY" && worker.state !== "DEGRADED") return false;
  if (!worker.canRun(model, nowMs)) return false;
  if (placement === undefined) return true;
  const { sites, providers, labels = {}, minVramBytes = 0 } = placement;
  const { hello } = worker;
  if (sites !== undefined && !sites.includes(hello.site)) return false;
  if (providers !== undefined && !providers.some((provider) => hello.providers.includes(provider)))
    return false;
  if (Object.entries(labels).some(([name, value]) => hello.labels[name] !== value)) return false;
  return minVramBytes === 0 || hello.hardware.gpus.some(({ vramBytes = 0 }) => vramBytes >= minVramBytes);
}

function pickAmong(
  workers: readonly Worker[],
  balancer: Balancer,
  experience: Experience | undefined,
): Worker | undefined {
  if (experience === undefined) {
    const open = workers.filter(({ isOpen }) => isOpen);
    return open.length === 0 ? undefined : balancer.choose(open);
  }
  const { triedWorkerIds, memoryBytesOver } = experience;
  const larger = workers.filter(({ memoryBytes }) => memoryBytes > memoryBytesOver);
  const wanted = larger.length > 0 ? larger : workers;
  const fresh = wanted.filter(({ id }) => !triedWorkerIds.has(id));
  const openOnes = (fresh.length > 0 ? fresh : wanted).filter(({ isOpen }) => isOpen);
  return openOnes.length === 0 ? undefined : balancer.choose(openOnes);
}
