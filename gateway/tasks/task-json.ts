/** A task as HTTP clients see it. */

import type { InferResponse, TaskJson } from "@legacygpu/shared/api/tasks";
import type { ModelRef, TaskOutput } from "@legacygpu/shared/protocol/messages";
import { type AttemptRecord, countedAttempts, type TaskRecord, type TaskTimings } from "./record.ts";
import { tensorToJson } from "./tensor-json.ts";

/** @param reason why it is not running, when it is PENDING. */
export function taskJson(task: TaskRecord, reason: string | undefined): TaskJson {
  return {
    id: task.id,
    object: "task",
    model: task.model.name,
    version: task.model.version,
    status: task.state,
    priority: task.priority,
    ...(reason === undefined ? {} : { reason }),
    attempt: countedAttempts(task),
    max_attempts: task.maxAttempts,
    created_at: iso(task.createdAtMs),
    started_at: isoOrNull(task.startedAtMs),
    completed_at: isoOrNull(task.completedAtMs),
    deadline_at: isoOrNull(task.deadlineAtMs),
    attempts: task.attempts.map(attemptJson),
    timings_ms: task.timings === undefined ? null : timingsJson(task, task.timings),
    error: task.error ?? null,
    result: task.output === undefined ? null : inferResponse(task.model, task.output),
    urls: { self: `/tasks/${task.id}`, cancel: `/tasks/${task.id}/cancel` },
    metadata: { ...task.metadata },
  };
}

export function inferResponse(model: ModelRef, output: TaskOutput, id?: string): InferResponse {
  return {
    ...(id === undefined || id === "" ? {} : { id }),
    model_name: model.name,
    model_version: model.version,
    outputs: output.tensors.map(tensorToJson),
    ...(output.predictions === undefined ? {} : { predictions: output.predictions }),
  };
}

function attemptJson(attempt: AttemptRecord, index: number): TaskJson["attempts"][number] {
  return {
    n: index + 1,
    worker: attempt.workerId,
    site: attempt.site,
    started_at: iso(attempt.startedAtMs),
    ended_at: isoOrNull(attempt.endedAtMs),
    outcome: attempt.outcome ?? "running",
    ...(attempt.error === undefined ? {} : { error: attempt.error }),
  };
}

function timingsJson(task: TaskRecord, timings: TaskTimings): TaskJson["timings_ms"] {
  return {
    queue: round(timings.queueMs),
    network: round(timings.networkMs),
    worker_queue: round(timings.onWorker.queuedMs),
    fetch: round(timings.onWorker.fetchMs),
    load: round(timings.onWorker.loadMs),
    preprocess: round(timings.onWorker.preprocessMs),
    execute: round(timings.onWorker.executeMs),
    postprocess: round(timings.onWorker.postprocessMs),
    total: round((task.completedAtMs ?? task.createdAtMs) - task.createdAtMs),
  };
}

const round = (milliseconds: number): number => Math.round(milliseconds * 1000) / 1000;
const iso = (timeMs: number): string => new Date(timeMs).toISOString();
const isoOrNull = (timeMs: number | undefined): string | null => (timeMs === undefined ? null : iso(timeMs));
