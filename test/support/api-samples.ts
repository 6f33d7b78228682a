/** Documents as a gateway sends them, for tests of the client. */

import type {
  BatchJson,
  BatchResult,
  ClusterHealth,
  ClusterMetrics,
  KeyJson,
  ModelJson,
  ModelQueueJson,
  TaskEvent,
  TaskEventName,
  TaskJson,
  WorkerJson,
} from "../../client/index.ts";
import { batchJsonSchema, batchResultSchema } from "../../shared/api/batches.ts";
import { clusterMetricsSchema, workerJsonSchema } from "../../shared/api/cluster.ts";
import { modelJsonSchema } from "../../shared/api/models.ts";
import { taskEventSchema } from "../../shared/api/task-events.ts";
import { modelQueueSchema, taskJsonSchema } from "../../shared/api/tasks.ts";

const AT = "2026-01-02T03:04:05.000Z";

type AttemptJson = TaskJson["attempts"][number];

export function sampleTask(changes: Partial<TaskJson> = {}): TaskJson {
  const id = changes.id ?? "task_1";
  return taskJsonSchema.parse({
    id,
    object: "task",
    model: "digits",
    version: "1",
    status: "PENDING",
    priority: "NORMAL",
    durability: "flushed",
    attempt: 0,
    max_attempts: 3,
    created_at: AT,
    queued_at: AT,
    started_at: null,
    completed_at: null,
    deadline_at: null,
    expires_at: null,
    attempts: [],
    timings_ms: null,
    error: null,
    result: null,
    result_bytes: null,
    dead_letter: false,
    data_removed: false,
    urls: {
      self: `/tasks/${id}`,
      result: `/tasks/${id}/result`,
      events: `/tasks/${id}/events`,
      cancel: `/tasks/${id}/cancel`,
      retry: `/tasks/${id}/retry`,
    },
    metadata: {},
    tags: [],
    ...changes,
  });
}

export function completedTask(changes: Partial<TaskJson> = {}): TaskJson {
  return sampleTask({
    status: "COMPLETED",
    attempt: 1,
    started_at: AT,
    completed_at: AT,
    attempts: [sampleAttempt()],
    timings_ms: {
      queue: 0.4,
      network: 1.2,
      worker_queue: 0,
      fetch: 0,
      load: 0,
      preprocess: 6.1,
      execute: 2,
      postprocess: 0.1,
      total: 9.8,
    },
    result: {
      model_name: "digits",
      model_version: "1",
      outputs: [{ name: "scores", datatype: "FP32", shape: [1, 2], data: [0.1, 2.5] }],
      predictions: [
        { label: "7", index: 7, score: 0.9912 },
        { label: "1", index: 1, score: 0.0061 },
      ],
    },
    ...changes,
  });
}

export function failedTask(changes: Partial<TaskJson> = {}): TaskJson {
  const error = { code: "model_run_failed", message: "The model failed on this input.", retryable: false };
  return sampleTask({ status: "FAILED", attempt: 1, error, ...changes });
}

export function sampleAttempt(changes: Partial<AttemptJson> = {}): AttemptJson {
  return {
    n: 1,
    worker: "box",
    site: "home",
    started_at: AT,
    ended_at: AT,
    token: 7,
    outcome: "completed",
    ...changes,
  };
}

/** An event as the SDK tells of it; {@link eventText} is how it travels. */
export function sampleEvent(event: TaskEventName, changes: Partial<TaskEvent> = {}): TaskEvent {
  return { event, ...taskEventSchema.parse({ at: AT, task: "task_1", ...changes }) };
}

export function eventText({ event, ...data }: TaskEvent): string {
  const id = data.seq === undefined || event === "reset" ? "" : `id: ${data.seq}\n`;
  return `${id}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}

export function sampleBatch(
  counts: Partial<BatchJson["counts"]> = {},
  changes: Partial<BatchJson> = {},
): BatchJson {
  const id = changes.id ?? "batch_1";
  const all = {
    total: 0,
    pending: 0,
    running: 0,
    completed: 0,
    failed: 0,
    cancelled: 0,
    timed_out: 0,
    ...counts,
  };
  return batchJsonSchema.parse({
    id,
    object: "batch",
    model: "digits",
    version: "1",
    created_at: AT,
    status: all.pending + all.running > 0 ? "RUNNING" : "COMPLETED",
    counts: all,
    urls: {
      self: `/batches/${id}`,
      items: `/batches/${id}/items`,
      results: `/batches/${id}/results`,
      cancel: `/batches/${id}/cancel`,
    },
    ...changes,
  });
}

export function sampleBatchResult(index: number, changes: Partial<BatchResult> = {}): BatchResult {
  return batchResultSchema.parse({
    index,
    task: `task_${index}`,
    status: "COMPLETED",
    result: completedTask().result,
    error: null,
    ...changes,
  });
}

export const sampleQueue: ModelQueueJson = modelQueueSchema.parse({
  model: "digits",
  is_paused: false,
  pending: 4,
  running: 2,
  oldest_age_ms: 12_300,
  workers: { ready: 1, busy: 2, loading: 0, unable: 1 },
  delay_ms: { p50: 850, p95: 2400 },
});

export function sampleModel(changes: Partial<ModelJson> = {}): ModelJson {
  return modelJsonSchema.parse({
    name: "digits",
    version: "1",
    file: `sha256:${"a".repeat(64)}`,
    size_bytes: 250_000,
    inputs: [{ name: "image", datatype: "FP32", shape: [-1, 3, 48, 48] }],
    outputs: [{ name: "scores", datatype: "FP32", shape: [-1, 10] }],
    accepts_images: true,
    created_at: AT,
    ...changes,
  });
}

export function sampleWorker(changes: Partial<WorkerJson> = {}): WorkerJson {
  return workerJsonSchema.parse({
    id: "box",
    site: "home",
    state: "HEALTHY",
    cause: "connected",
    connected_at: AT,
    agent_version: "0.1.0",
    labels: {},
    hardware: {
      cpu: { model: "Ryzen 5", cores: 6 },
      memoryBytes: 16e9,
      platform: "linux",
      gpus: [{ name: "RX 580", vendor: "AMD" }],
    },
    providers: ["webgpu", "cpu"],
    slots: 2,
    in_flight: 1,
    credit: 3,
    completed: 12,
    failed: 0,
    rtt_ms: 23.4,
    rtt: { smoothed_ms: 23.4, deviation_ms: 1.5, minimum_ms: 21.9, samples: 60 },
    service_times: [{ model: "digits@1", mean_ms: 8.25, deviation_ms: 0.5, count: 12 }],
    reported: { running: 1, queued: 0, cpu_percent: 35, rss_bytes: 250_000_000, age_ms: 400 },
    models: [],
    ...changes,
  });
}

export const sampleHealth: ClusterHealth = {
  status: "HEALTHY",
  total_workers: 2,
  healthy_workers: 1,
  pending_tasks: 3,
  running_tasks: 1,
};

export const sampleMetrics: ClusterMetrics = clusterMetricsSchema.parse({
  strategy: "LEAST_LOADED",
  workers_total: 2,
  workers_healthy: 1,
  tasks_pending: 3,
  tasks_running: 1,
  tasks_completed: 12,
  tasks_failed: 1,
  tasks_cancelled: 0,
  tasks_timed_out: 0,
  attempts_lost: 0,
  stale_messages: 0,
  task_latency_ms: { p50: 12.3, p99: 1200 },
  uptime_seconds: 3700,
});

export const sampleKey: KeyJson = {
  id: "abcdefghij",
  kind: "client",
  name: "laptop",
  scopes: ["submit", "read"],
  tenant: "abcdefghij",
  created_at: AT,
  expires_at: null,
  revoked_at: null,
  last_used_at: null,
  networks: null,
  models: null,
  sites: null,
  replaces: null,
  source: "issued",
};
