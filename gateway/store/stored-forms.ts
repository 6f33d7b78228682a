/** The forms in which the fields of a record are stored: arrays whose places have fixed meanings, with null for what is not there. */

import type { Digest } from "@legacygpu/shared/manifest";
import { attemptTimingsSchema, modelRefSchema } from "@legacygpu/shared/protocol/messages";
import {
  ATTEMPT_OUTCOMES,
  COPY_PURPOSES,
  DURABILITIES,
  RETRY_CAUSES,
  TASK_STATES,
} from "@legacygpu/shared/task";
import { z } from "zod";
import { type AttemptRecord, type EarlierRound, type TaskTimings, WEBHOOK_EVENTS } from "../tasks/record.ts";

const DIGEST_BYTES = 32;
const text = z.string();
const number = z.number();
const texts = z.array(text);

/** An array whose places are the fields of `shape`, in its order, with null for a field that is not there. */
function placed<Shape extends z.ZodRawShape>(shape: Shape) {
  const names = Object.keys(shape);
  // Checking an object costs a tenth of checking a tuple with transforms, and every task that is read pays for it.
  const toObject = (values: readonly unknown[]): unknown => {
    const object: Record<string, unknown> = {};
    for (let i = 0; i < names.length; i += 1) object[names[i] as string] = values[i];
    return object;
  };
  return z.array(z.unknown()).length(names.length).transform(toObject).pipe(z.object(shape));
}

export const wireErrorSchema = z.object({
  code: text,
  message: text,
  retryable: z.boolean(),
  details: z.record(text, z.unknown()).exactOptional(),
});

const attempt = {
  token: z.int(),
  workerId: text,
  site: text,
  startedAtMs: number,
  acceptedAtMs: number.nullable(),
  endedAtMs: number.nullable(),
  outcome: z.enum(ATTEMPT_OUTCOMES).nullable(),
  error: wireErrorSchema.nullable(),
};
const purpose = z.enum(COPY_PURPOSES);
/** The purpose has a place in copies only. */
const attemptSchema = z.union([
  placed(attempt).transform(ordinaryAttempt),
  placed({ ...attempt, purpose }).transform(
    (stored): AttemptRecord => ({ ...ordinaryAttempt(stored), purpose: stored.purpose }),
  ),
]);

function ordinaryAttempt(stored: z.infer<z.ZodObject<typeof attempt>>): AttemptRecord {
  return {
    token: stored.token,
    workerId: stored.workerId,
    site: stored.site,
    startedAtMs: stored.startedAtMs,
    acceptedAtMs: stored.acceptedAtMs ?? undefined,
    endedAtMs: stored.endedAtMs ?? undefined,
    outcome: stored.outcome ?? undefined,
    error: stored.error ?? undefined,
  };
}

/** When the task was started, and its attempts. */
export const attemptsSchema = placed({ startedAtMs: number.nullable(), attempts: z.array(attemptSchema) });

/** A SHA-256 in half the bytes that its text takes. */
const storedDigestSchema = z
  .custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === DIGEST_BYTES, "digest")
  .transform((bytes): Digest => `sha256:${Buffer.from(bytes).toString("hex")}`);

export function digestBytes(digest: Digest): Buffer {
  return Buffer.from(digest.slice("sha256:".length), "hex");
}

const { name, version, fileBytes } = modelRefSchema.shape;
const modelSchema = placed({
  name,
  version,
  file: storedDigestSchema,
  fileBytes,
  manifest: storedDigestSchema,
});

/** How busy the worker was besides is of use to the gateway that hears it, not later. */
const { batchSize, concurrency: _concurrency, ...legs } = attemptTimingsSchema.shape;
const timings = { queueMs: number, networkMs: number, ...legs };
/** The size of the batch has a place only where there was one. */
const timingsSchema = z
  .union([placed(timings), placed({ ...timings, batchSize })])
  .transform(({ queueMs, networkMs, ...onWorker }): TaskTimings => ({ onWorker, queueMs, networkMs }));

const placementSchema = z.object({
  sites: texts.exactOptional(),
  labels: z.record(text, text).exactOptional(),
  providers: texts.exactOptional(),
  minVramBytes: number.exactOptional(),
  families: texts.exactOptional(),
  residency: texts.exactOptional(),
});
const webhookSchema = placed({ endpointId: text, events: z.array(z.enum(WEBHOOK_EVENTS)) });
const batchSchema = placed({ id: text, index: z.int(), reference: text.nullable() }).transform(
  ({ id, index, reference }) => ({ id, index, reference: reference ?? undefined }),
);
const earlierRoundSchema = placed({
  state: z.enum(TASK_STATES),
  error: wireErrorSchema.nullable(),
  endedAtMs: number,
  retriedAtMs: number,
  attempts: z.int(),
}).transform(
  ({ state, error, endedAtMs, retriedAtMs, attempts }): EarlierRound => ({
    state,
    error: error ?? undefined,
    endedAtMs,
    retriedAtMs,
    attempts,
  }),
);

const body = {
  // What was asked for.
  model: modelSchema,
  outputs: texts.nullable(),
  metadata: z.record(text, text),
  tags: texts,
  createdAtMs: number,
  executionLimitMs: number.nullable(),
  resultTtlMs: number,
  maxAttempts: z.int(),
  backoffMs: number,
  retryOn: z.array(z.enum(RETRY_CAUSES)).nullable(),
  placement: placementSchema.nullable(),
  webhook: webhookSchema.nullable(),
  batch: batchSchema.nullable(),
  durability: z.enum(DURABILITIES),
  requestHash: text.nullable(),
  // What became of it.
  earlierRounds: z.array(earlierRoundSchema),
  startedAtMs: number.nullable(),
  attempts: z.array(attemptSchema),
  error: wireErrorSchema.nullable(),
  outputBytes: number.nullable(),
  timings: timingsSchema.nullable(),
};
export const BODY_FIELDS = Object.keys(body).length;
/** What a task forbids or wants beyond the usual, in bits; absent where that is nothing. */
export const WISHES = { noCopies: 1, choice: 2 } as const;
export const bodySchema = z.union([placed(body), placed({ ...body, wishes: z.int() })]);
