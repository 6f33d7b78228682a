/** What operators want of models: how many workers have each loaded, and which. Kept beside the tasks, so that it survives restarts. */

import type { putDeploymentSchema } from "@legacygpu/shared/api/deployments";
import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { PROVIDERS } from "@legacygpu/shared/manifest";
import { z } from "zod";
import type { DocumentStore } from "../store/task-store.ts";
import { storedRecords } from "../workers/stored-records.ts";

export const DEPLOYMENTS = "deployments";

const deploymentSchema = z.object({
  model: z.string(),
  /** A version or an alias; absent: the newest. */
  version: z.string().optional(),
  minReplicas: z.int(),
  maxReplicas: z.int(),
  idleTtlMs: z.number(),
  providers: z.array(z.enum(PROVIDERS)).optional(),
  sites: z.array(z.string()).optional(),
  createdAtMs: z.number(),
  updatedAtMs: z.number(),
});
export type Deployment = Readonly<z.infer<typeof deploymentSchema>>;

export class Deployments {
  readonly #documents: DocumentStore;
  readonly #clock: Clock;
  readonly #byModel = new Map<string, Deployment>();

  /** @throws `store_corrupt` */
  constructor(documents: DocumentStore, clock: Clock) {
    this.#documents = documents;
    this.#clock = clock;
    for (const deployment of storedRecords(documents, DEPLOYMENTS, deploymentSchema))
      this.#byModel.set(deployment.model, deployment);
  }

  get size(): number {
    return this.#byModel.size;
  }

  /** By the names of their models. */
  list(): Deployment[] {
    return [...this.#byModel.values()].sort((a, b) => (a.model < b.model ? -1 : 1));
  }

  find(model: string): Deployment | undefined {
    return this.#byModel.get(model);
  }

  /** @throws `deployment_not_found` */
  get(model: string): Deployment {
    const found = this.#byModel.get(model);
    if (found === undefined)
      throw fail(
        "deployment_not_found",
        `Model ${model} is not deployed; workers load it when they first run it.`,
        {
          model,
        },
      );
    return found;
  }

  /** Makes one, or puts another in its place. @throws `store_full`, `store_failed` */
  async put(model: string, wanted: z.output<typeof putDeploymentSchema>): Promise<{ isNew: boolean }> {
    const nowMs = this.#clock.now();
    const known = this.#byModel.get(model);
    const { min_replicas: minReplicas, max_replicas: maxReplicas = Math.max(1, minReplicas) } = wanted;
    const deployment: Deployment = {
      model,
      ...(wanted.version === undefined ? {} : { version: wanted.version }),
      minReplicas,
      maxReplicas,
      idleTtlMs: wanted.idle_ttl_seconds * 1000,
      ...(wanted.providers === undefined ? {} : { providers: wanted.providers }),
      ...(wanted.sites === undefined ? {} : { sites: wanted.sites }),
      createdAtMs: known?.createdAtMs ?? nowMs,
      updatedAtMs: nowMs,
    };
    await this.#documents.put([{ collection: DEPLOYMENTS, id: model, value: deployment }]);
    this.#byModel.set(model, deployment);
    return { isNew: known === undefined };
  }

  /** @throws `deployment_not_found`, `store_failed` */
  async remove(model: string): Promise<void> {
    this.get(model);
    await this.#documents.remove(DEPLOYMENTS, [model]);
    this.#byModel.delete(model);
  }
}
