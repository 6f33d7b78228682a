/** Wire form of the cluster's state on HTTP. */

import { z } from "zod";
import { STRATEGY_NAMES, WORKER_STATES } from "../task.ts";

export const clusterHealthSchema = z.object({
  /** HEALTHY: at least one worker can take tasks. */
  status: z.enum(["HEALTHY", "DEGRADED", "UNHEALTHY"]),
  total_workers: z.int(),
  healthy_workers: z.int(),
  pending_tasks: z.int(),
  running_tasks: z.int(),
});
export type ClusterHealth = z.infer<typeof clusterHealthSchema>;

export const clusterMetricsSchema = z.object({
  strategy: z.enum(STRATEGY_NAMES),
  workers_total: z.int(),
  workers_healthy: z.int(),
  tasks_pending: z.int(),
  tasks_running: z.int(),
  tasks_completed: z.int(),
  tasks_failed: z.int(),
  tasks_cancelled: z.int(),
  tasks_timed_out: z.int(),
  /** Attempts that were started again because a worker was lost. */
  attempts_lost: z.int(),
  /** Messages that carried a token which was no longer live. */
  stale_messages: z.int(),
  /** Time from submission to the end, of the latest tasks; null before the first. */
  task_latency_ms: z.object({ p50: z.number(), p99: z.number() }).nullable(),
  uptime_seconds: z.number(),
});
export type ClusterMetrics = z.infer<typeof clusterMetricsSchema>;

export const workerJsonSchema = z.object({
  id: z.string(),
  site: z.string(),
  state: z.enum(WORKER_STATES),
  /** Why the worker is in this state. */
  cause: z.string(),
  connected_at: z.string(),
  agent_version: z.string(),
  labels: z.record(z.string(), z.string()),
  hardware: z.object({
    cpu: z.object({ model: z.string(), cores: z.int() }),
    memoryBytes: z.number(),
    platform: z.string(),
    gpus: z.array(
      z.object({
        name: z.string(),
        vendor: z.string(),
        vramBytes: z.number().optional(),
        driver: z.string().optional(),
      }),
    ),
  }),
  providers: z.array(z.string()),
  slots: z.int(),
  in_flight: z.int(),
  credit: z.int(),
  completed: z.int(),
  failed: z.int(),
  rtt_ms: z.number().nullable(),
  models: z.array(
    z.object({
      name: z.string(),
      version: z.string(),
      state: z.string(),
      received_bytes: z.number().optional(),
      total_bytes: z.number().optional(),
      /** While it is downloading. */
      bytes_per_second: z.number().optional(),
      /** Seconds until it is there, at that rate. */
      eta_seconds: z.number().optional(),
      /** What computes it there, once it is ready. */
      provider: z.string().optional(),
      /** Why it failed; of a ready one, why better providers were passed over. */
      reason: z.string().optional(),
    }),
  ),
});
export type WorkerJson = z.infer<typeof workerJsonSchema>;

export const workerListSchema = z.object({ workers: z.array(workerJsonSchema) });

export const setBalancingSchema = z.strictObject({ strategy: z.string() });
export const balancingSetSchema = z.object({
  status: z.literal("success"),
  new_strategy: z.enum(STRATEGY_NAMES),
});
