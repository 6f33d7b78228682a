/** The cluster as a whole: health, figures, workers, balancing strategy. */

import {
  type ClusterHealth,
  type ClusterMetrics,
  setBalancingSchema,
  type WorkerJson,
} from "@legacygpu/shared/api/cluster";
import type { Clock } from "@legacygpu/shared/clock";
import type { Balancer } from "../../balancers/balancer.ts";
import type { Counters } from "../../metrics.ts";
import type { Registry } from "../../registry/registry.ts";
import type { ModelStateMessage, Worker } from "../../registry/worker.ts";
import type { Scheduler } from "../../scheduler/scheduler.ts";
import { type Endpoint, json, parseJson } from "../endpoint.ts";

export interface ClusterParts {
  readonly registry: Registry;
  readonly scheduler: Scheduler;
  readonly balancer: Balancer;
  readonly counters: Counters;
  readonly clock: Clock;
}

const SMALL_BODY = { kind: "buffer", limitBytes: 64 * 1024 } as const;

export function clusterEndpoints(parts: ClusterParts): Endpoint[] {
  const { registry, balancer, clock } = parts;
  const startedAtMs = clock.monotonic();
  return [
    { method: "GET", pattern: "/cluster/health", scope: "read", handle: () => json(200, health(parts)) },
    {
      method: "GET",
      pattern: "/cluster/metrics",
      scope: "read",
      handle: () => json(200, metrics(parts, clock.monotonic() - startedAtMs)),
    },
    {
      method: "GET",
      pattern: "/cluster/workers",
      scope: "read",
      handle: () => json(200, { workers: [...registry.all].map(workerJson) }),
    },
    {
      method: "PUT",
      pattern: "/cluster/config/balancing",
      scope: "admin",
      action: "balancing.change",
      body: SMALL_BODY,
      handle: (request) => {
        const { strategy } = parseJson(request, setBalancingSchema);
        const name = balancer.use(strategy);
        return json(200, { status: "success", new_strategy: name });
      },
    },
  ];
}

function health({ registry, scheduler }: ClusterParts): ClusterHealth {
  const healthy = registry.count("HEALTHY");
  return {
    status: healthy === 0 ? "UNHEALTHY" : healthy < registry.size ? "DEGRADED" : "HEALTHY",
    total_workers: registry.size,
    healthy_workers: healthy,
    pending_tasks: scheduler.pendingCount,
    running_tasks: scheduler.runningCount,
  };
}

function metrics(
  { registry, scheduler, balancer, counters }: ClusterParts,
  uptimeMs: number,
): ClusterMetrics {
  return {
    strategy: balancer.name,
    workers_total: registry.size,
    workers_healthy: registry.count("HEALTHY"),
    tasks_pending: scheduler.pendingCount,
    tasks_running: scheduler.runningCount,
    tasks_completed: counters.ended.COMPLETED,
    tasks_failed: counters.ended.FAILED,
    tasks_cancelled: counters.ended.CANCELLED,
    tasks_timed_out: counters.ended.TIMED_OUT,
    attempts_lost: counters.attemptsLost,
    stale_messages: counters.staleMessages,
    task_latency_ms: counters.latencyMs(),
    uptime_seconds: Math.round(uptimeMs / 100) / 10,
  };
}

function workerJson(worker: Worker): WorkerJson {
  const { hello, rtt } = worker;
  return {
    id: worker.id,
    site: hello.site,
    state: worker.state,
    cause: worker.cause,
    connected_at: new Date(worker.connectedAtMs).toISOString(),
    agent_version: hello.agentVersion,
    labels: hello.labels,
    hardware: hello.hardware as WorkerJson["hardware"],
    providers: hello.providers,
    slots: worker.slots,
    in_flight: worker.inFlight,
    credit: worker.credit,
    completed: worker.completed,
    failed: worker.failed,
    rtt_ms: rtt.smoothedMs === undefined ? null : Math.round(rtt.smoothedMs * 1000) / 1000,
    models: modelStates(worker),
  };
}

/** What lies on its disk, then what it told of since. */
function modelStates(worker: Worker): WorkerJson["models"] {
  const states = new Map<string, WorkerJson["models"][number]>();
  for (const { name, version } of worker.hello.models) {
    states.set(`${name}@${version}`, { name, version, state: "cached" });
  }
  for (const [key, message] of worker.models) {
    const { name, version, state, provider, reason } = message;
    states.set(key, {
      name,
      version,
      state,
      ...downloadProgress(message),
      ...(provider === undefined ? {} : { provider }),
      ...(reason === undefined ? {} : { reason }),
    });
  }
  return [...states.values()];
}

type DownloadProgress = Pick<
  WorkerJson["models"][number],
  "received_bytes" | "total_bytes" | "bytes_per_second" | "eta_seconds"
>;

function downloadProgress({
  receivedBytes,
  totalBytes,
  bytesPerSecond,
}: ModelStateMessage): DownloadProgress {
  const progress: DownloadProgress = {};
  if (receivedBytes !== undefined) progress.received_bytes = receivedBytes;
  if (totalBytes !== undefined) progress.total_bytes = totalBytes;
  if (bytesPerSecond !== undefined) progress.bytes_per_second = Math.round(bytesPerSecond);
  if (receivedBytes !== undefined && totalBytes !== undefined && bytesPerSecond)
    progress.eta_seconds = Math.ceil(Math.max(0, totalBytes - receivedBytes) / bytesPerSecond);
  return progress;
}
