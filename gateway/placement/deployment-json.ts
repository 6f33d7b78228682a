/** Deployments as HTTP tells of them. */

import type { ColdStartJson, DeploymentJson } from "@legacygpu/shared/api/deployments";
import type { Clock } from "@legacygpu/shared/clock";
import type { Worker } from "../registry/worker.ts";
import { modelKey } from "../tasks/record.ts";
import type { Standing } from "./controller.ts";
import type { ColdStart, Replica } from "./replicas.ts";

export interface StandingContext {
  readonly clock: Clock;
  readonly workers: { get(id: string): Worker | undefined };
}

export function deploymentJson(standing: Standing, context: StandingContext): DeploymentJson {
  const { deployment, model, replicas, sample } = standing;
  const nowMs = context.clock.monotonic();
  const estimatedWaitMs = replicas.demand.estimatedWaitMs(sample);
  return {
    model: deployment.model,
    version: model?.ref.version ?? null,
    wanted_version: deployment.version ?? null,
    min_replicas: deployment.minReplicas,
    max_replicas: deployment.maxReplicas,
    idle_ttl_seconds: deployment.idleTtlMs / 1000,
    providers: deployment.providers ?? null,
    sites: deployment.sites ?? null,
    ...stateOf(standing),
    target_replicas: replicas.target,
    ready_replicas: replicas.all.filter(({ state }) => state === "ready").length,
    waiting_tasks: sample.waiting,
    estimated_wait_ms: estimatedWaitMs === undefined ? null : Math.round(estimatedWaitMs),
    replicas: replicas.all.map((replica) => replicaJson(replica, standing.inFlight(replica), context)),
    failures: replicas.failures.current().map(({ workerId, reason, attempts, untilMs }) => ({
      worker: workerId,
      reason,
      attempts,
      retry_in_ms: Math.round(untilMs - nowMs),
    })),
    cold_start: coldStartJson(replicas.lastColdStart),
    created_at: new Date(deployment.createdAtMs).toISOString(),
    updated_at: new Date(deployment.updatedAtMs).toISOString(),
  };
}

function stateOf({
  deployment,
  model,
  replicas,
  sample,
}: Standing): Pick<DeploymentJson, "state" | "reason"> {
  const reason = replicas.shortfall ?? null;
  if (model === undefined) {
    const version = deployment.version === undefined ? "" : ` version ${deployment.version}`;
    return { state: "unavailable", reason: `There is no model ${deployment.model}${version}.` };
  }
  const own = replicas.of(model.ref.version);
  if (own.some(({ state }) => state === "ready")) return { state: "ready", reason };
  if (own.some(({ state }) => state === "loading")) return { state: "loading", reason };
  if (reason !== null) return { state: "unavailable", reason };
  return { state: replicas.target > 0 || sample.waiting > 0 ? "loading" : "idle", reason };
}

function replicaJson(
  replica: Replica,
  inFlight: number,
  { workers }: StandingContext,
): DeploymentJson["replicas"][number] {
  const worker = workers.get(replica.workerId);
  const { receivedBytes, state } = worker?.models.get(modelKey(replica.ref)) ?? {};
  const isDownloading = state === "downloading" && receivedBytes !== undefined && replica.ref.fileBytes > 0;
  return {
    worker: replica.workerId,
    site: worker?.hello.site ?? "",
    version: replica.ref.version,
    state: replica.state,
    progress: isDownloading ? Math.min(1, receivedBytes / replica.ref.fileBytes) : null,
    provider: replica.provider ?? null,
    in_flight: inFlight,
    since: new Date(replica.sinceMs).toISOString(),
    cold_start: coldStartJson(replica.coldStart),
  };
}

function coldStartJson(coldStart: ColdStart | undefined): ColdStartJson | null {
  if (coldStart === undefined) return null;
  const { totalMs, transferMs, loadMs, warmUpMs } = coldStart;
  return {
    total_ms: totalMs,
    transfer_ms: transferMs ?? null,
    load_ms: loadMs ?? null,
    warm_up_ms: warmUpMs ?? null,
  };
}
