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

const rttJsonSchema = z.object({
  /** Mean deviation. */
  deviation_ms: z.number(),
  /** The least of the last minute: the path without queues. */
  minimum_ms: z.number().nullable(),
  samples: z.int(),
});

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
        /** Of cards, when it is known. */
        family: z.string().optional(),
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
  /** Of its own pings; null before the first answer. */
  rtt: rttJsonSchema.extend({ smoothed_ms: z.number() }).nullable(),
  /** How long its tasks take there, without loading the model. */
  service_times: z.array(
    z.object({ model: z.string(), mean_ms: z.number(), deviation_ms: z.number(), count: z.int() }),
  ),
  /** What it said last of itself; null before that. */
  reported: z
    .object({
      running: z.int(),
      queued: z.int(),
      cpu_percent: z.number(),
      rss_bytes: z.number(),
      /** How long ago. */
      age_ms: z.number(),
    })
    .nullable(),
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

export const siteJsonSchema = z.object({
  name: z.string(),
  /** How many are in each state; empty while none is connected. */
  workers: z.partialRecord(z.enum(WORKER_STATES), z.int()),
  /** Of all its workers together; null before the first answer. */
  rtt: rttJsonSchema.extend({ mean_ms: z.number() }).nullable(),
  /** What transfers got, together; null before the first one that is large enough to tell. */
  bandwidth: z.object({
    to_site_bytes_per_second: z.number().nullable(),
    from_site_bytes_per_second: z.number().nullable(),
  }),
  slots: z.int(),
  in_flight: z.int(),
  /** Tasks since it was first seen by this start of the gateway. */
  completed: z.int(),
  last_seen_at: z.string(),
});
export type SiteJson = z.infer<typeof siteJsonSchema>;

export const siteListSchema = z.object({ sites: z.array(siteJsonSchema) });

export const setBalancingSchema = z.strictObject({
  /** Null: the configured one, or, with a model, that of all the others. */
  strategy: z.string().nullable(),
  /** Absent: for every model that has none of its own. */
  model: z.string().max(256).optional(),
});
export type SetBalancing = z.infer<typeof setBalancingSchema>;
export const balancingSetSchema = z.object({
  status: z.literal("success"),
  model: z.string().optional(),
  /** What holds now. */
  new_strategy: z.enum(STRATEGY_NAMES),
});

/** Answer of `GET /cluster/config/balancing`. */
export const balancingSchema = z.object({
  strategy: z.enum(STRATEGY_NAMES),
  /** By model, of those that have one of their own. */
  overrides: z.record(z.string(), z.enum(STRATEGY_NAMES)),
  /** All that there are. */
  strategies: z.array(z.string()),
});
export type BalancingJson = z.infer<typeof balancingSchema>;
