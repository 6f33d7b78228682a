/** Why a task that waits is not running, in a sentence for a person, with its place and when its turn may come. */

import type { Requirements as ModelNeeds } from "@legacygpu/shared/manifest";
import type { Worker } from "../registry/worker.ts";
import { modelKey, type Requirements } from "../tasks/record.ts";
import { isAble } from "./able.ts";
import type { Entry } from "./entry.ts";
import { unmetRequirement } from "./unmet.ts";

/** More would not be read. */
const MAX_NAMED_WORKERS = 5;

export interface Explanation {
  readonly reason: string;
  /** How many go before it, at most; absent when it is not in the queue. */
  readonly position?: number | undefined;
  /** When it can be known: somebody can run it, and enough tasks have ended lately to tell how fast. */
  readonly etaMs?: number | undefined;
  readonly progress?: { readonly phase: string; readonly percent?: number } | undefined;
}

export interface Circumstances {
  readonly workers: readonly Worker[];
  readonly requirements: Requirements;
  /** What the model's manifest asks of a worker. */
  readonly needs?: ModelNeeds | undefined;
  /** The workers that have the model loaded, when it is deployed. */
  readonly replicas?: ReadonlySet<string> | undefined;
  /** Why none of these can take it. */
  readonly deploymentReason?: () => string | undefined;
  readonly isHeldBack: boolean;
  /** Absent: it is not in the queue. */
  readonly position: number | undefined;
  /** When it enters the queue again. */
  readonly dueAtMs: number | undefined;
  readonly throughputPerSecond: number | undefined;
  readonly nowMs: number;
}

export function explain(entry: Entry, now: Circumstances): Explanation {
  const [first] = entry.live;
  if (first !== undefined) return explainSent(first.worker, now.requirements);
  if (now.dueAtMs !== undefined) return { reason: parkedReason(entry, now.dueAtMs - now.nowMs) };
  const { position = 0 } = now;
  const { model } = now.requirements;
  if (now.isHeldBack) return { reason: `The queue of ${model.name} is paused.`, position };
  const able = now.workers
    .filter(({ id }) => now.replicas?.has(id) ?? true)
    .filter((worker) => isAble(worker, now.requirements, now.nowMs));
  if (able.length === 0)
    return {
      reason: ruledOutReason(now) ?? now.deploymentReason?.() ?? unmetReason(entry, now),
      position,
    };
  const perSecond = now.throughputPerSecond;
  const etaMs = perSecond === undefined ? undefined : Math.round(((position + 1) / perSecond) * 1000);
  return { reason: busyReason(able, position), position, etaMs };
}

function explainSent(worker: Worker, { model }: Requirements): Explanation {
  const loading = worker.models.get(modelKey(model));
  if (loading?.state === "downloading" || loading?.state === "loading") {
    const { receivedBytes, totalBytes } = loading;
    const isCounted = loading.state === "downloading" && receivedBytes !== undefined && totalBytes;
    const percent = isCounted ? { percent: Math.floor((100 * receivedBytes) / totalBytes) } : {};
    return {
      reason: `Worker ${worker.id} is ${loading.state} the model.`,
      progress: { phase: `${loading.state}_model`, ...percent },
    };
  }
  return { reason: `Sent to worker ${worker.id}, which has not started it yet.` };
}

function parkedReason(entry: Entry, leftMs: number): string {
  const seconds = (Math.max(0, leftMs) / 1000).toFixed(1);
  if (entry.heldBy !== undefined)
    return `Worker ${entry.heldBy} had it when the gateway was restarted; it is waited for, for ${seconds} s more.`;
  const cause = entry.trouble?.lastError?.message;
  return `It is tried again in ${seconds} s.${cause === undefined ? "" : ` ${cause}`}`;
}

/** It is loaded, and nowhere where the task may go: a deployment does not look at the placements of single tasks. */
function ruledOutReason({ workers, requirements, replicas, nowMs }: Circumstances): string | undefined {
  const { model, placement } = requirements;
  if (replicas === undefined || placement === undefined) return undefined;
  const anywhere = { model, placement: undefined };
  const loaded = workers.filter((worker) => replicas.has(worker.id) && isAble(worker, anywhere, nowMs));
  if (loaded.length === 0) return undefined;
  const names = loaded.slice(0, MAX_NAMED_WORKERS).map(({ id }) => id);
  return `${modelKey(model)} is deployed on ${names.join(", ")}, which the task's placement ${JSON.stringify(placement)} rules out.`;
}

function unmetReason(entry: Entry, now: Circumstances): string {
  return unmetRequirement(now, entry.trouble?.lastError)?.reason ?? "No worker can take it now.";
}

function busyReason(able: readonly Worker[], ahead: number): string {
  const healthy = able.filter(({ state }) => state === "HEALTHY").length;
  if (healthy === 0) return `Every worker is being spared because it fails: ${able[0]?.cause ?? "unknown"}.`;
  const busy = able.length === 1 ? "The only worker is busy" : `All ${able.length} workers are busy`;
  return `${busy}; ${ahead} ${ahead === 1 ? "task is" : "tasks are"} ahead.`;
}
