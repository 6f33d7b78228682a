/** A task as HTTP clients see it. */

import type { InferResponse } from "@legacygpu/shared/api/inference";
import type { ChoiceJson, TaskJson } from "@legacygpu/shared/api/tasks";
import type { ModelRef, TaskOutput } from "@legacygpu/shared/protocol/messages";
import type { Choice, ConsideredWorker } from "../dispatch/choice.ts";
import type { Explanation } from "../scheduler/explanation.ts";
import {
  type AttemptRecord,
  type BatchPlace,
  countedAttempts,
  type TaskRecord,
  type TaskTimings,
} from "./record.ts";
import { tensorToJson } from "./tensor-json.ts";

/** A larger result is not repeated whenever somebody looks at the task: it has its own address. */
const MAX_INLINE_RESULT_BYTES = 1024 * 1024;

/** @param explanation why it is not running, when it waits. @param choice how its worker was chosen, when that was asked for. */
export function taskJson(task: TaskRecord, explanation: Explanation | undefined, choice?: Choice): TaskJson {
  const { position, etaMs } = explanation ?? {};
  const isInline = (task.outputBytes ?? 0) <= MAX_INLINE_RESULT_BYTES;
  return {
    id: task.id,
    object: "task",
    model: task.model.name,
    version: task.model.version,
    status: task.state,
    priority: task.priority,
    durability: task.durability,
    ...(explanation === undefined ? {} : { reason: explanation.reason }),
    ...(position === undefined
      ? {}
      : { queue: { position, ...(etaMs === undefined ? {} : { eta_ms: etaMs }) } }),
    ...(explanation?.progress === undefined ? {} : { progress: explanation.progress }),
    ...(task.mayBeCopied ? {} : { hedge: false }),
    ...(choice === undefined ? {} : { choice: choiceJson(choice) }),
    attempt: countedAttempts(task),
    max_attempts: task.maxAttempts,
    created_at: iso(task.createdAtMs),
    queued_at: iso(task.earlierRounds.at(-1)?.retriedAtMs ?? task.createdAtMs),
    started_at: isoOrNull(task.startedAtMs),
    completed_at: isoOrNull(task.completedAtMs),
    deadline_at: isoOrNull(task.deadlineAtMs),
    expires_at: isoOrNull(task.resultExpiresAtMs),
    attempts: task.attempts.map((attempt, index) => attemptJson(attempt, index)),
    timings_ms: task.timings === undefined ? null : timingsJson(task, task.timings),
    error: task.error ?? null,
    result: task.output === undefined || !isInline ? null : inferResponse(task.model, task.output),
    result_bytes: task.outputBytes ?? null,
    dead_letter: task.isDeadLetter,
    data_removed: task.dataRemovedAtMs !== undefined,
    ...(task.batch === undefined ? {} : { batch: batchJson(task.batch) }),
    urls: {
      self: `/tasks/${task.id}`,
      result: `/tasks/${task.id}/result`,
      events: `/tasks/${task.id}/events`,
      cancel: `/tasks/${task.id}/cancel`,
      retry: `/tasks/${task.id}/retry`,
    },
    metadata: { ...task.metadata },
    tags: [...task.tags],
  };
}

function batchJson({ id, index, reference }: BatchPlace): NonNullable<TaskJson["batch"]> {
  return { id, index, ...(reference === undefined ? {} : { external_reference: reference }) };
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

function choiceJson({ strategy, decidedAtMs, chosenWorkerId, candidates }: Choice): ChoiceJson {
  return {
    strategy,
    decided_at: iso(decidedAtMs),
    chosen: chosenWorkerId ?? null,
    candidates: candidates.map(candidateJson),
  };
}

function candidateJson({
  workerId,
  site,
  verdict,
  predictedMs,
  parts,
}: ConsideredWorker): ChoiceJson["candidates"][number] {
  return {
    worker: workerId,
    site,
    verdict,
    predicted_ms: predictedMs === undefined ? null : round(predictedMs),
    parts:
      parts === undefined
        ? null
        : {
            rtt_ms: round(parts.rttMs),
            wait_ms: round(parts.waitMs),
            service_ms: round(parts.serviceMs),
            load_ms: round(parts.loadMs),
            transfer_ms: round(parts.transferMs),
          },
  };
}

function attemptJson(attempt: AttemptRecord, index: number): TaskJson["attempts"][number] {
  return {
    n: index + 1,
    token: attempt.token,
    worker: attempt.workerId,
    site: attempt.site,
    ...(attempt.purpose === undefined ? {} : { purpose: attempt.purpose }),
    started_at: iso(attempt.startedAtMs),
    ended_at: isoOrNull(attempt.endedAtMs),
    outcome: attempt.outcome ?? (attempt.acceptedAtMs === undefined ? "sent" : "running"),
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
