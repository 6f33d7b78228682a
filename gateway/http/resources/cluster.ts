/** The cluster as a whole: health, figures, workers, sites. */

import type { ClusterHealth, ClusterMetrics } from "@legacygpu/shared/api/cluster";
import type { Clock } from "@legacygpu/shared/clock";
import type { BalancingConfig } from "../../balancers/balancing-config.ts";
import type { Counters } from "../../metrics.ts";
import type { Registry } from "../../registry/registry.ts";
import type { Scheduler } from "../../scheduler/scheduler.ts";
import { type Endpoint, json } from "../endpoint.ts";
import { sitesJson, workerJson } from "./cluster-json.ts";

export interface ClusterParts {
  readonly registry: Registry;
  readonly scheduler: Scheduler;
  readonly balancing: BalancingConfig;
  readonly counters: Counters;
  readonly clock: Clock;
}

export function clusterEndpoints(parts: ClusterParts): Endpoint[] {
  const { registry, scheduler, clock } = parts;
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
      handle: () => {
        const nowMs = clock.monotonic();
        return json(200, {
          workers: [...registry.all].map((worker) =>
            workerJson(worker, scheduler.dispatching.creditOf(worker), nowMs),
          ),
        });
      },
    },
    {
      method: "GET",
      pattern: "/cluster/sites",
      scope: "read",
      handle: () => json(200, { sites: sitesJson(registry) }),
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
  { registry, scheduler, balancing, counters }: ClusterParts,
  uptimeMs: number,
): ClusterMetrics {
  return {
    strategy: balancing.name,
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
