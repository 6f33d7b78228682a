/**
 * Who takes how much of the GPU's memory: an account of estimates, since no engine tells what a model will need.
 *
 * One card counts, the largest: engines put every model on one. Models that have waited longest for a task go first. Where the
 * probe found no card with memory of its own there is no bound, and only a failed allocation makes room.
 */

import { statSync } from "node:fs";
import type { Clock } from "@legacygpu/shared/clock";
import type { Hardware } from "@legacygpu/shared/protocol/messages";
import type { LocalModel } from "./job.ts";

/** A process that holds models. */
export interface Tenant {
  /** Whether none of its tasks needs the model. */
  isIdle(modelKey: string): boolean;
  evict(modelKey: string, cause: string): void;
}

export interface Residency {
  readonly tenant: Tenant;
  readonly modelKey: string;
  readonly needBytes: number;
  lastUsedMs: number;
}

const MIB = 1024 * 1024;
/** Weights and what is computed between them; the engine itself. */
const FILE_FACTOR = 1.5;
const ENGINE_BYTES = 256 * MIB;
/** Within this time a second failed allocation of a model is final. */
const RETRY_EVERY_MS = 60_000;

export class GpuMemory {
  readonly #budgetBytes: number;
  readonly #clock: Clock;
  readonly #residents = new Set<Residency>();
  readonly #retriedAtMs = new Map<string, number>();

  constructor(budgetBytes: number | undefined, clock: Clock) {
    this.#budgetBytes = budgetBytes ?? Number.POSITIVE_INFINITY;
    this.#clock = clock;
  }

  get leftBytes(): number {
    let taken = 0;
    for (const { needBytes } of this.#residents) taken += needBytes;
    return this.#budgetBytes - taken;
  }

  /**
   * Makes room, if that is possible, and takes it.
   * @returns undefined when it does not fit; then nothing was evicted in vain.
   */
  admit(tenant: Tenant, modelKey: string, needBytes: number): Residency | undefined {
    const victims = this.#victimsFor(tenant, needBytes);
    if (victims === undefined) return undefined;
    for (const { tenant: holder, modelKey: key } of victims)
      holder.evict(key, "another model needs the GPU's memory");
    const residency: Residency = { tenant, modelKey, needBytes, lastUsedMs: this.#clock.monotonic() };
    this.#residents.add(residency);
    return residency;
  }

  release(residency: Residency): void {
    this.#residents.delete(residency);
  }

  /** Whether a model that has just failed for want of memory may be tried once more. */
  mayRetry(modelKey: string): boolean {
    const retriedAtMs = this.#retriedAtMs.get(modelKey);
    return retriedAtMs === undefined || this.#clock.monotonic() - retriedAtMs >= RETRY_EVERY_MS;
  }

  /** The model is tried once more; whatever is idle elsewhere makes room for it. */
  clearFor(tenant: Tenant, modelKey: string): void {
    this.#retriedAtMs.set(modelKey, this.#clock.monotonic());
    for (const { tenant: holder, modelKey: key } of [...this.#residents])
      if (holder !== tenant && holder.isIdle(key)) holder.evict(key, "the GPU has no memory left");
  }

  #victimsFor(tenant: Tenant, needBytes: number): Residency[] | undefined {
    // A process works in order: what it has been handed for a model is done before it unloads that model.
    const evictable = [...this.#residents]
      .filter((resident) => resident.tenant === tenant || resident.tenant.isIdle(resident.modelKey))
      .sort((a, b) => a.lastUsedMs - b.lastUsedMs);
    const victims: Residency[] = [];
    let left = this.leftBytes;
    for (const resident of evictable) {
      if (left >= needBytes) break;
      victims.push(resident);
      left += resident.needBytes;
    }
    return left >= needBytes ? victims : undefined;
  }
}

/** Of the largest card; undefined when no card tells. */
export function gpuBudgetBytes({ gpus }: Hardware): number | undefined {
  const sizes = gpus.flatMap(({ vramBytes }) => (vramBytes === undefined ? [] : [vramBytes]));
  return sizes.length === 0 ? undefined : Math.max(...sizes);
}

export function needBytesOf({ path, manifest }: LocalModel): number {
  const declaredMib = manifest.requirements?.min_vram_mb;
  if (declaredMib !== undefined) return declaredMib * MIB;
  const fileBytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  return fileBytes * FILE_FACTOR + ENGINE_BYTES;
}
