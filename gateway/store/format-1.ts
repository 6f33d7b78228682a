/** Records as format 1 had them: a tag of five bytes, then a map of the fields. Only read any more, by the step to format 2. */

import type { TaskId } from "@legacygpu/shared/ids";
import {
  attemptTimingsSchema,
  modelRefSchema,
  type TaskInput,
  type TaskOutput,
} from "@legacygpu/shared/protocol/messages";
import { PRIORITIES, TASK_STATES } from "@legacygpu/shared/task";
import { z } from "zod";
import type { AttemptRecord, TaskRecord } from "../tasks/record.ts";
import { type Place, parseContents, unseal } from "./sealed.ts";
import { wireErrorSchema } from "./stored-forms.ts";

export const FORMAT_1_RECORD_VERSION = 1;
const TAG_BYTES = 5;
const BACKOFF_MS = 500;
/** For as long, format 1 kept the results of all tasks. */
const RESULT_TTL_MS = 7 * 24 * 3_600_000;

const time = z.number().nonnegative();
const attemptSchema = z.object({
  token: z.int().nonnegative(),
  workerId: z.string(),
  site: z.string(),
  startedAtMs: time,
  wasAccepted: z.boolean(),
  endedAtMs: time.optional(),
  outcome: z.enum(["completed", "failed", "worker_lost", "cancelled", "timed_out"]).optional(),
  error: wireErrorSchema.optional(),
});
const recordSchema = z.object({
  ownerKeyId: z.string(),
  model: modelRefSchema,
  outputs: z.array(z.string()).optional(),
  priority: z.enum(PRIORITIES),
  metadata: z.record(z.string(), z.string()),
  createdAtMs: time,
  deadlineAtMs: time.optional(),
  maxAttempts: z.int().positive(),
  state: z.enum(TASK_STATES),
  attempts: z.array(attemptSchema),
  startedAtMs: time.optional(),
  completedAtMs: time.optional(),
  error: wireErrorSchema.optional(),
  timings: z
    .object({ onWorker: attemptTimingsSchema, queueMs: z.number(), networkMs: z.number() })
    .optional(),
});

/** What lies beside the record. */
export interface Format1Parts {
  readonly input: TaskInput | undefined;
  readonly output: TaskOutput | undefined;
}

/** The record as we have it now, with what format 1 did not know set to what held then. @throws `store_corrupt` */
export function decodeFormat1(place: Place, value: Uint8Array, { input, output }: Format1Parts): TaskRecord {
  const contents = unseal(place, value, FORMAT_1_RECORD_VERSION);
  const stored = parseContents(place, contents.subarray(TAG_BYTES), recordSchema);
  return {
    id: place.key as TaskId,
    tenant: stored.ownerKeyId,
    model: stored.model,
    outputs: stored.outputs,
    priority: stored.priority,
    metadata: stored.metadata,
    tags: [],
    createdAtMs: stored.createdAtMs,
    inputBytes: payloadBytes(input),
    executionLimitMs: undefined,
    resultTtlMs: RESULT_TTL_MS,
    maxAttempts: stored.maxAttempts,
    backoffMs: BACKOFF_MS,
    retryOn: undefined,
    placement: undefined,
    webhook: undefined,
    batch: undefined,
    durability: "flushed",
    mayBeCopied: true,
    wantsChoice: false,
    requestHash: undefined,
    input,
    deadlineAtMs: stored.deadlineAtMs,
    state: stored.state,
    attempts: stored.attempts.map(attemptOf),
    earlierRounds: [],
    startedAtMs: stored.startedAtMs,
    completedAtMs: stored.completedAtMs,
    error: stored.error,
    output,
    outputBytes: output === undefined ? undefined : payloadBytes(output),
    resultExpiresAtMs: stored.completedAtMs === undefined ? undefined : stored.completedAtMs + RESULT_TTL_MS,
    timings: stored.timings,
    isDeadLetter: false,
    dataRemovedAtMs: undefined,
  };
}

function attemptOf({ wasAccepted, ...stored }: z.infer<typeof attemptSchema>): AttemptRecord {
  const { token, workerId, site, startedAtMs, endedAtMs, outcome, error } = stored;
  const acceptedAtMs = wasAccepted ? startedAtMs : undefined;
  return { token, workerId, site, startedAtMs, acceptedAtMs, endedAtMs, outcome, error };
}

function payloadBytes(payload: TaskInput | TaskOutput | undefined): number {
  if (payload === undefined) return 0;
  if (payload.kind === "image") return payload.image.length;
  return payload.tensors.reduce((sum, { data }) => sum + data.length, 0);
}
