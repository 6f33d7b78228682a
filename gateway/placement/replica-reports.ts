/** What follows from what a worker says of a replica: it is ready, could not be loaded, or was unloaded. */

import type { Logger } from "@legacygpu/shared/log";
import type { ModelStateMessage, Worker } from "../registry/worker.ts";
import type { DeployedModels } from "./deployed-models.ts";
import type { Deployments } from "./deployments.ts";
import type { Replica, Replicas } from "./replicas.ts";

export interface ReplicaReportsOptions {
  readonly log: Logger;
  readonly deployments: Deployments;
  readonly deployed: DeployedModels;
  /** Has the worker forget it. */
  readonly unload: (replica: Replica) => void;
  /** The planner may want something else now. */
  readonly lookSoon: () => void;
}

export class ReplicaReports {
  readonly #options: ReplicaReportsOptions;

  constructor(options: ReplicaReportsOptions) {
    this.#options = options;
  }

  heard(worker: Worker, message: ModelStateMessage): void {
    const replicas = this.#options.deployed.find(message.name);
    if (replicas === undefined) return;
    const replica = replicas.find(worker.id, message.version);
    if (replica === undefined) {
      if (message.state === "ready") this.#options.lookSoon();
      return;
    }
    if (message.state === "ready") this.#ready(replicas, replica, message);
    else if (message.state === "failed") this.#failed(replicas, replica, message);
    else if (message.state === "cached" || message.state === "unloaded")
      this.#unloadedByItself(replicas, replica, message);
  }

  #ready(replicas: Replicas, replica: Replica, message: ModelStateMessage): void {
    const { log } = this.#options;
    const { providers } = this.#options.deployments.find(message.name) ?? {};
    const { provider } = message;
    replica.provider = provider;
    if (replica.state === "loading") {
      const isAllowed = provider === undefined || (providers?.some((each) => each === provider) ?? true);
      if (!isAllowed) {
        const why = message.reason === undefined ? "" : ` ${message.reason}`;
        this.#turnDown(
          replicas,
          replica,
          `${provider} computes it there, which the deployment rules out.${why}`,
        );
        this.#options.unload(replica);
        return;
      }
      replicas.becameReady(replica, message);
      const { workerId, ref, coldStart } = replica;
      log.info(
        { model: ref.name, version: ref.version, workerId, provider, coldStart },
        "a replica is ready",
      );
      this.#options.lookSoon();
    }
    this.#options.deployed.openGates();
  }

  #failed(replicas: Replicas, replica: Replica, { reason, retryAfterMs }: ModelStateMessage): void {
    // It tells of the last time, and begins anew.
    if (replica.state === "loading" && retryAfterMs === 0) return;
    this.#turnDown(replicas, replica, reason ?? "it does not say why", retryAfterMs);
  }

  /** The worker needed the room, or somebody had it unload the model. */
  #unloadedByItself(replicas: Replicas, replica: Replica, { state }: ModelStateMessage): void {
    // On its way to being ready it is `cached` too.
    if (replica.state === "loading") return;
    const wasServing = replica.state === "ready";
    replicas.remove(replica);
    this.#options.deployed.openGates();
    if (!wasServing) return;
    if (state === "unloaded") replicas.demand.forget();
    else replicas.failures.note(replica.workerId, replica.ref.version, "The worker unloaded it by itself.");
    this.#options.lookSoon();
  }

  #turnDown(replicas: Replicas, replica: Replica, reason: string, retryAfterMs?: number): void {
    const { workerId, ref } = replica;
    replicas.remove(replica);
    const { attempts } = replicas.failures.note(workerId, ref.version, reason, retryAfterMs);
    this.#options.log.warn(
      { model: ref.name, version: ref.version, workerId, reason, attempts },
      "a replica could not be had",
    );
    this.#options.deployed.openGates();
    this.#options.lookSoon();
  }
}
