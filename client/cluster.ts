/** The cluster as a whole: how it is, who belongs to it, and how it chooses workers. */

import {
  type BalancingJson,
  balancingSchema,
  balancingSetSchema,
  type ClusterHealth,
  type ClusterMetrics,
  clusterHealthSchema,
  clusterMetricsSchema,
  type SetBalancing,
  type SiteJson,
  siteListSchema,
  type WorkerJson,
  workerListSchema,
} from "@legacygpu/shared/api/cluster";
import type { StrategyName } from "@legacygpu/shared/task";
import type { z } from "zod";
import type { Transport } from "./transport.ts";

const BALANCING = "/cluster/config/balancing";

export class Cluster {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  health(signal?: AbortSignal): Promise<ClusterHealth> {
    return this.#get("/cluster/health", clusterHealthSchema, signal);
  }

  metrics(signal?: AbortSignal): Promise<ClusterMetrics> {
    return this.#get("/cluster/metrics", clusterMetricsSchema, signal);
  }

  async workers(signal?: AbortSignal): Promise<WorkerJson[]> {
    return (await this.#get("/cluster/workers", workerListSchema, signal)).workers;
  }

  async sites(signal?: AbortSignal): Promise<SiteJson[]> {
    return (await this.#get("/cluster/sites", siteListSchema, signal)).sites;
  }

  balancing(signal?: AbortSignal): Promise<BalancingJson> {
    return this.#get(BALANCING, balancingSchema, signal);
  }

  async setBalancing(json: SetBalancing, signal?: AbortSignal): Promise<StrategyName> {
    const call = { method: "PUT", path: BALANCING, json } as const;
    return (await this.#transport.request(call, balancingSetSchema, signal)).new_strategy;
  }

  #get<Schema extends z.ZodType>(
    path: string,
    schema: Schema,
    signal?: AbortSignal,
  ): Promise<z.infer<Schema>> {
    return this.#transport.request({ method: "GET", path }, schema, signal);
  }
}
