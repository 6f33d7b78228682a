/** On which providers a model is to be loaded here, in which order, and why not on others. */

import { fail } from "@legacygpu/shared/errors";
import type { Manifest } from "@legacygpu/shared/manifest";
import { type GpuMemory, needBytesOf, type Residency, type Tenant } from "./gpu-memory.ts";
import type { LocalModel } from "./job.ts";
import type { SelfTestRecord } from "./self-test-record.ts";

export interface LoadPlan {
  /** Best first; at least one. */
  readonly providers: readonly string[];
  readonly trusted: readonly string[];
  /** `provider: reason` each. */
  readonly passedOver: readonly string[];
  /** What is taken of the GPU's memory; the CPU takes none. */
  readonly residency: Residency | undefined;
  /** Whether a GPU that has too little memory may be given more. */
  readonly reportsMemory: boolean;
}

export interface LoadPlannerOptions {
  /** That work here, best first. */
  readonly providers: readonly string[];
  readonly record: SelfTestRecord;
  readonly memory: GpuMemory;
}

const MIB = 1024 * 1024;

export class LoadPlanner {
  readonly #options: LoadPlannerOptions;

  constructor(options: LoadPlannerOptions) {
    this.#options = options;
  }

  /** @throws `model_load_failed`, `out_of_memory` when there is no provider for it. */
  plan(model: LocalModel, tenant: Tenant): LoadPlan {
    const { record, memory } = this.#options;
    const passedOver: string[] = [];
    const sound = providersFor(model.manifest, this.#options.providers).filter((provider) => {
      const objection = provider === "cpu" ? undefined : record.objection(model.key, provider);
      if (objection !== undefined) passedOver.push(`${provider}: ${objection}`);
      return objection === undefined;
    });
    const needBytes = needBytesOf(model);
    const residency = sound.some(isGpu) ? memory.admit(tenant, model.key, needBytes) : undefined;
    const isRefused = residency === undefined && sound.some(isGpu);
    const providers = isRefused ? sound.filter((provider) => !isGpu(provider)) : sound;
    const shortage = `It needs ${inMib(needBytes)} of GPU memory and ${inMib(memory.leftBytes)} are left.`;
    if (isRefused) for (const provider of sound.filter(isGpu)) passedOver.push(`${provider}: ${shortage}`);
    if (providers.length === 0)
      throw fail(isRefused ? "out_of_memory" : "model_load_failed", noneLeft(passedOver));
    const trusted = providers.filter((provider) => record.isTrusted(model.key, provider));
    return { providers, trusted, passedOver, residency, reportsMemory: memory.mayRetry(model.key) };
  }
}

/** @throws `model_load_failed` when the worker has none of those that the model asks for. */
export function providersFor({ requirements }: Manifest, own: readonly string[]): readonly string[] {
  const wanted: readonly string[] | undefined = requirements?.providers;
  if (wanted === undefined) return own;
  const usable = wanted.filter((provider) => own.includes(provider));
  if (usable.length > 0) return usable;
  const message = `The model runs on ${wanted.join(" or ")} only; this worker has ${own.join(", ")}.`;
  throw fail("model_load_failed", message, { wanted: [...wanted], providers: [...own] });
}

const isGpu = (provider: string): boolean => provider !== "cpu";
const noneLeft = (passedOver: readonly string[]): string =>
  `No execution provider is left for the model. ${passedOver.join("; ")}`;
const inMib = (bytes: number): string => `${Math.max(0, Math.ceil(bytes / MIB))} MiB`;
