/** The forms in which the fields of a record are stored: arrays whose places have fixed meanings, with null for what is not there. */

import type { Digest } from "@legacygpu/shared/manifest";
import { attemptTimingsSchema, modelRefSchema } from "@legacygpu/shared/protocol/messages";
import { DURABILITIES, RETRY_CAUSES, TASK_STATES } from "@legacygpu/shared/task";
import { z } from "zod";
import { type AttemptRecord, type TaskTimings, WEBHOOK_EVENTS } from "../tasks/record.ts";

const DIGEST_BYTES = 32;
const text = z.string();
const number = z.number();
const texts = z.array(text);

const orAbsent = <T extends z.ZodType>(schema: T) =>
  schema.nullable().transform((value) => (value === null ? undefined : value));

export const wireErrorSchema = z.object({
  code: text,
  message: text,
  retryable: z.boolean(),
  details: z.record(text, z.unknown()).exactOptional(),
});

const attemptSchema = z
  .tuple([
    z.int(),
    text,
    text,
    number,
    orAbsent(number),
    orAbsent(number),
    orAbsent(z.enum(["completed", "failed", "worker_lost", "cancelled", "timed_out"])),
    orAbsent(wireErrorSchema),
  ])
  .transform(
    ([token, workerId, site, startedAtMs, acceptedAtMs, endedAtMs, outcome, error]): AttemptRecord => ({
      token,
      workerId,
      site,
      startedAtMs,
      acceptedAtMs,
      endedAtMs,
      outcome,
      error,
    }),
  );

/** When the task was started, and its attempts. */
export const attemptsSchema = z.tuple([orAbsent(number), z.array(attemptSchema)]);

/** A SHA-256 in half the bytes that its text takes. */
const storedDigestSchema = z
  .custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === DIGEST_BYTES, "digest")
  .transform((bytes): Digest => `sha256:${Buffer.from(bytes).toString("hex")}`);

export function digestBytes(digest: Digest): Buffer {
  return Buffer.from(digest.slice("sha256:".length), "hex");
}

const { name, version, fileBytes } = modelRefSchema.shape;
const modelSchema = z
  .tuple([name, version, storedDigestSchema, fileBytes, storedDigestSchema])
  .transform(([name, version, file, fileBytes, manifest]) => ({ name, version, file, fileBytes, manifest }));

const { queuedMs, fetchMs, loadMs, preprocessMs, executeMs, postprocessMs } = attemptTimingsSchema.shape;
const timingsSchema = z
  .tuple([number, number, queuedMs, fetchMs, loadMs, preprocessMs, executeMs, postprocessMs])
  .transform(
    ([
      queueMs,
      networkMs,
      queuedMs,
      fetchMs,
      loadMs,
      preprocessMs,
      executeMs,
      postprocessMs,
    ]): TaskTimings => ({
      onWorker: { queuedMs, fetchMs, loadMs, preprocessMs, executeMs, postprocessMs },
      queueMs,
      networkMs,
    }),
  );

const placementSchema = z.object({
  sites: texts.exactOptional(),
  labels: z.record(text, text).exactOptional(),
  providers: texts.exactOptional(),
  minVramBytes: number.exactOptional(),
});
const webhookSchema = z
  .tuple([text, z.array(z.enum(WEBHOOK_EVENTS))])
  .transform(([endpointId, events]) => ({ endpointId, events }));
const batchSchema = z
  .tuple([text, z.int(), orAbsent(text)])
  .transform(([id, index, reference]) => ({ id, index, reference }));
const earlierRoundSchema = z
  .tuple([z.enum(TASK_STATES), orAbsent(wireErrorSchema), number, number, z.int()])
  .transform(([state, error, endedAtMs, retriedAtMs, attempts]) => ({
    state,
    error,
    endedAtMs,
    retriedAtMs,
    attempts,
  }));

/** What was asked for, then what became of it. */
export const bodySchema = z
  .tuple([
    modelSchema,
    orAbsent(texts),
    z.record(text, text),
    texts,
    number,
    orAbsent(number),
    number,
    z.int(),
    number,
    orAbsent(z.array(z.enum(RETRY_CAUSES))),
    orAbsent(placementSchema),
    orAbsent(webhookSchema),
    orAbsent(batchSchema),
    z.enum(DURABILITIES),
    orAbsent(text),
    z.array(earlierRoundSchema),
    orAbsent(number),
    z.array(attemptSchema),
    orAbsent(wireErrorSchema),
    orAbsent(number),
    orAbsent(timingsSchema),
  ])
  .transform(
    ([
      model,
      outputs,
      metadata,
      tags,
      createdAtMs,
      executionLimitMs,
      resultTtlMs,
      maxAttempts,
      backoffMs,
      retryOn,
      placement,
      webhook,
      batch,
      durability,
      requestHash,
      earlierRounds,
      startedAtMs,
      attempts,
      error,
      outputBytes,
      timings,
    ]) => ({
      model,
      outputs,
      metadata,
      tags,
      createdAtMs,
      executionLimitMs,
      resultTtlMs,
      maxAttempts,
      backoffMs,
      retryOn,
      placement,
      webhook,
      batch,
      durability,
      requestHash,
      earlierRounds,
      startedAtMs,
      attempts,
      error,
      outputBytes,
      timings,
    }),
  );
export const BODY_FIELDS = 21;
