/** What one runner process has loaded, or is loading: for how long it has been idle, and what it takes of the GPU. */

import type { Clock, Timer } from "@legacygpu/shared/clock";
import type { GpuMemory, Tenant } from "./gpu-memory.ts";
import type { LocalModel } from "./job.ts";
import type { LoadPlan } from "./load-planner.ts";

interface Holding {
  readonly model: LocalModel;
  readonly plan: LoadPlan;
  /** Undefined while it is being loaded. */
  provider: string | undefined;
  lastUsedMs: number;
  idleTimer: Timer | undefined;
}

export class LoadedModels {
  readonly #clock: Clock;
  readonly #memory: GpuMemory;
  readonly #tenant: Tenant;
  readonly #holdings = new Map<string, Holding>();

  constructor(clock: Clock, memory: GpuMemory, tenant: Tenant) {
    this.#clock = clock;
    this.#memory = memory;
    this.#tenant = tenant;
  }

  has(modelKey: string): boolean {
    return this.#holdings.has(modelKey);
  }

  add(model: LocalModel, plan: LoadPlan): void {
    const lastUsedMs = this.#clock.monotonic();
    const holding: Holding = { model, plan, provider: undefined, lastUsedMs, idleTimer: undefined };
    this.#holdings.set(model.key, holding);
    const { idle_seconds: idleSeconds } = model.manifest;
    if (idleSeconds !== undefined) this.#watch(holding, idleSeconds * 1000, idleSeconds * 1000);
  }

  /** @returns why other providers were passed over before the load began. */
  ready(modelKey: string, provider: string): readonly string[] {
    const holding = this.#holdings.get(modelKey);
    if (holding === undefined) return [];
    holding.provider = provider;
    if (provider === "cpu") this.#giveMemoryBack(holding);
    return holding.plan.passedOver;
  }

  touch(modelKey: string): void {
    const holding = this.#holdings.get(modelKey);
    if (holding === undefined) return;
    holding.lastUsedMs = this.#clock.monotonic();
    if (holding.plan.residency !== undefined) holding.plan.residency.lastUsedMs = holding.lastUsedMs;
  }

  /** Whether the GPU computes it, or is meant to. */
  isOnGpu(modelKey: string): boolean {
    const holding = this.#holdings.get(modelKey);
    return holding?.plan.residency !== undefined && holding.provider !== "cpu";
  }

  /** @returns what was forgotten. */
  delete(modelKey: string): LocalModel | undefined {
    const holding = this.#holdings.get(modelKey);
    if (holding === undefined) return undefined;
    this.#holdings.delete(modelKey);
    holding.idleTimer?.cancel();
    this.#giveMemoryBack(holding);
    return holding.model;
  }

  /** The process has ended. */
  clear(): void {
    for (const modelKey of [...this.#holdings.keys()]) this.delete(modelKey);
  }

  #giveMemoryBack({ plan }: Holding): void {
    if (plan.residency !== undefined) this.#memory.release(plan.residency);
  }

  #watch(holding: Holding, idleMs: number, inMs: number): void {
    const { key } = holding.model;
    holding.idleTimer = this.#clock.after(inMs, () => {
      const leftMs = this.#tenant.isIdle(key)
        ? holding.lastUsedMs + idleMs - this.#clock.monotonic()
        : idleMs;
      if (leftMs <= 0) this.#tenant.evict(key, "no task has needed it for a while");
      else this.#watch(holding, idleMs, leftMs);
    });
  }
}
