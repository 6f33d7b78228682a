/** The deployed models with their replicas, and which workers the scheduler may give their tasks to. */

import type { Clock } from "@legacygpu/shared/clock";
import type { ModelRef } from "@legacygpu/shared/protocol/messages";
import type { Model } from "../models/catalogue.ts";
import { modelKey } from "../tasks/record.ts";
import type { Deployment, Deployments } from "./deployments.ts";
import { Replicas } from "./replicas.ts";
import type { ModelName } from "./survey.ts";

export interface DeployedModelsOptions {
  readonly clock: Clock;
  readonly deployments: Deployments;
  /** @throws `model_not_found` */
  readonly findModel: (name: string, version: string | undefined) => Model;
}

export class DeployedModels {
  readonly #options: DeployedModelsOptions;
  /** By name; also of models that are deployed no more, until nothing is left of them. */
  readonly #replicas = new Map<string, Replicas>();
  /** By name and version: the workers whose replicas are ready. */
  readonly #gates = new Map<string, ReadonlySet<string>>();

  constructor(options: DeployedModelsOptions) {
    this.#options = options;
    for (const { model } of options.deployments.list()) this.of(model);
    this.openGates();
  }

  get all(): Replicas[] {
    return [...this.#replicas.values()];
  }

  find(model: string): Replicas | undefined {
    return this.#replicas.get(model);
  }

  /** Begins to keep them when there are none. */
  of(model: string): Replicas {
    let replicas = this.#replicas.get(model);
    if (replicas === undefined) {
      replicas = new Replicas(model, this.#options.clock);
      this.#replicas.set(model, replicas);
    }
    return replicas;
  }

  /** Undefined: it is not deployed, and everybody may run it. */
  readyFor(model: ModelName): ReadonlySet<string> | undefined {
    return this.#gates.size === 0 ? undefined : this.#gates.get(modelKey(model));
  }

  /** To be called whenever a replica or a deployment has changed. */
  openGates(): void {
    this.#gates.clear();
    for (const deployment of this.#options.deployments.list()) {
      const replicas = this.of(deployment.model);
      const model = this.modelOf(deployment);
      if (model !== undefined) this.#gates.set(modelKey(model.ref), new Set());
      for (const { ref, workerId, state } of replicas.all) {
        if (state !== "ready") continue;
        const key = modelKey(ref);
        this.#gates.set(key, new Set([...(this.#gates.get(key) ?? []), workerId]));
      }
    }
  }

  forgetUndeployed(): void {
    for (const [model, replicas] of this.#replicas)
      if (replicas.size === 0 && this.#options.deployments.find(model) === undefined)
        this.#replicas.delete(model);
  }

  refOf(model: string): ModelRef | undefined {
    const deployment = this.#options.deployments.find(model);
    return deployment === undefined ? undefined : this.modelOf(deployment)?.ref;
  }

  /** Undefined: there is no such version. */
  modelOf({ model, version }: Deployment): Model | undefined {
    try {
      return this.#options.findModel(model, version);
    } catch {
      return undefined;
    }
  }
}
