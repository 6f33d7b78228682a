/** Whether a worker can run a task at all, busy or not. */

import type { Gpu } from "@legacygpu/shared/protocol/messages";
import { familyOf, vramBytesOf } from "../balancers/known-cards.ts";
import type { Worker } from "../registry/worker.ts";
import type { Placement, Requirements } from "../tasks/record.ts";

/** The label that says where the data of a worker's tasks is, by convention. */
export const REGION_LABEL = "region";

/** It takes tasks, has what is required, and has not failed to load the model just now. */
export function isAble(worker: Worker, requirements: Requirements, nowMs: number): boolean {
  return (
    isUsable(worker) && worker.canRun(requirements.model, nowMs) && meetsRequirements(worker, requirements)
  );
}

/** It has what the model's manifest and the placement ask for, whatever its state. */
export function meetsRequirements(worker: Worker, { model, placement }: Requirements): boolean {
  return worker.suits(model) && (placement === undefined || fits(worker, placement));
}

/** Whether it takes tasks now. */
export function isUsable({ state }: Worker): boolean {
  return state === "HEALTHY" || state === "DEGRADED";
}

/** Whether it has this much memory of its own, as it says or as its kind has. */
export function hasVram(gpu: Gpu, leastBytes: number): boolean {
  return (vramBytesOf(gpu) ?? 0) >= leastBytes;
}

export function isOfFamily(gpu: Gpu, families: readonly string[]): boolean {
  const family = familyOf(gpu);
  return family !== undefined && families.includes(family);
}

export function hasLabel(
  labels: Readonly<Record<string, string>>,
  name: string,
  values: readonly string[],
): boolean {
  const value = labels[name];
  return value !== undefined && values.includes(value);
}

function fits({ hello }: Worker, placement: Placement): boolean {
  const { sites, providers, labels, families, residency, minVramBytes = 0 } = placement;
  if (sites !== undefined && !sites.includes(hello.site)) return false;
  if (residency !== undefined && !hasLabel(hello.labels, REGION_LABEL, residency)) return false;
  if (providers !== undefined && !providers.some((provider) => hello.providers.includes(provider)))
    return false;
  if (labels !== undefined && Object.entries(labels).some(([name, value]) => hello.labels[name] !== value))
    return false;
  if (minVramBytes === 0 && families === undefined) return true;
  // Both of one card.
  return hello.hardware.gpus.some(
    (gpu) => hasVram(gpu, minVramBytes) && (families === undefined || isOfFamily(gpu, families)),
  );
}
