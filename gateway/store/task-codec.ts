/**
 * Stored bytes ↔ the parts of a task: the record, its input, its output.
 *
 * A stored value is one byte of version, four bytes of CRC-32 (big-endian, over key, version and contents) and the contents as msgpack. The key
 * is in the checksum so that a value which turns up under another key is noticed. The contents of a record begin with a tag of its state and its
 * model, by which a search passes over records that it does not want at a tenth of the cost of decoding them.
 */

import { crc32 } from "node:zlib";
import { fail } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import { decodeValue, encodeValue } from "@legacygpu/shared/protocol/codec";
import {
  attemptTimingsSchema,
  modelRefSchema,
  outputSchema,
  payloadSchema,
  type TaskInput,
  type TaskOutput,
} from "@legacygpu/shared/protocol/messages";
import { PRIORITIES, TASK_STATES, type TaskState } from "@legacygpu/shared/task";
import { z } from "zod";
import type { AttemptRecord, TaskRecord } from "../tasks/record.ts";

const VERSION = 1;
const HEADER_BYTES = 5;
/** Index of the state, CRC-32 of the model's name. */
const TAG_BYTES = 5;

const time = z.number().nonnegative();
const errorSchema = z.object({
  code: z.string(),
  message: z.string(),
  retryable: z.boolean(),
  details: z.record(z.string(), z.unknown()).exactOptional(),
});
const attemptSchema = z.object({
  token: z.int().nonnegative(),
  workerId: z.string(),
  site: z.string(),
  startedAtMs: time,
  wasAccepted: z.boolean(),
  endedAtMs: time.optional(),
  outcome: z.enum(["completed", "failed", "worker_lost", "cancelled", "timed_out"]).optional(),
  error: errorSchema.optional(),
});
const timingsSchema = z.object({
  onWorker: attemptTimingsSchema,
  queueMs: z.number(),
  networkMs: z.number(),
});
const recordSchema = z.object({
  id: z.string(),
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
  error: errorSchema.optional(),
  timings: timingsSchema.optional(),
});

/** Where a value lies, for checksums and messages. */
export interface Place {
  readonly table: string;
  readonly key: string;
}

/** What a search wants; absent: anything. */
export interface RecordFilter {
  readonly state?: TaskState | undefined;
  readonly model?: string | undefined;
}

export function encodeRecord(place: Place, task: TaskRecord): Uint8Array {
  const tag = Buffer.allocUnsafe(TAG_BYTES);
  tag[0] = TASK_STATES.indexOf(task.state);
  tag.writeUInt32BE(crc32(task.model.name), 1);
  return seal(place, { ...task, input: undefined, output: undefined }, tag);
}

export function encodePart(place: Place, part: TaskInput | TaskOutput): Uint8Array {
  return seal(place, part);
}

/** False: the record is certainly not wanted. @throws `store_corrupt` */
export function mayMatch(place: Place, bytes: Uint8Array, { state, model }: RecordFilter): boolean {
  const tag = unseal(place, bytes);
  if (state !== undefined && TASK_STATES[tag[0] ?? -1] !== state) return false;
  return model === undefined || tag.readUInt32BE(1) === crc32(model);
}

/** The record without its input and output. @throws `store_corrupt` */
export function decodeRecord(place: Place, bytes: Uint8Array): TaskRecord {
  const stored = parse(place, unseal(place, bytes).subarray(TAG_BYTES), recordSchema);
  if (stored.id !== place.key) throw corrupt(place, `it says that it is ${stored.id}`);
  // Field by field, because a field that was undefined is absent in the bytes.
  return {
    id: stored.id as TaskId,
    ownerKeyId: stored.ownerKeyId,
    model: stored.model,
    input: undefined,
    outputs: stored.outputs,
    priority: stored.priority,
    metadata: stored.metadata,
    createdAtMs: stored.createdAtMs,
    deadlineAtMs: stored.deadlineAtMs,
    maxAttempts: stored.maxAttempts,
    state: stored.state,
    attempts: stored.attempts.map(attemptRecord),
    startedAtMs: stored.startedAtMs,
    completedAtMs: stored.completedAtMs,
    error: stored.error,
    output: undefined,
    timings: stored.timings,
  };
}

function attemptRecord(stored: z.infer<typeof attemptSchema>): AttemptRecord {
  return {
    token: stored.token,
    workerId: stored.workerId,
    site: stored.site,
    startedAtMs: stored.startedAtMs,
    wasAccepted: stored.wasAccepted,
    endedAtMs: stored.endedAtMs,
    outcome: stored.outcome,
    error: stored.error,
  };
}

/** @throws `store_corrupt` */
export function decodeInput(place: Place, bytes: Uint8Array): TaskInput {
  return parse(place, unseal(place, bytes), payloadSchema);
}

/** @throws `store_corrupt` */
export function decodeOutput(place: Place, bytes: Uint8Array): TaskOutput {
  return parse(place, unseal(place, bytes), outputSchema);
}

export function corrupt(place: Place, what: string, cause?: unknown): Error {
  const key = `${place.table}/${place.key}`;
  return fail("store_corrupt", `The stored record ${key} is damaged: ${what}.`, { key }, cause);
}

function seal(place: Place, value: unknown, tag: Uint8Array = new Uint8Array()): Uint8Array {
  const contents = encodeValue(value);
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + tag.length + contents.length);
  bytes[0] = VERSION;
  bytes.set(tag, HEADER_BYTES);
  bytes.set(contents, HEADER_BYTES + tag.length);
  bytes.writeUInt32BE(checksum(place, bytes), 1);
  return bytes;
}

/** The contents, as a view. */
function unseal(place: Place, bytes: Uint8Array): Buffer {
  if (bytes.length < HEADER_BYTES) throw corrupt(place, `it has only ${bytes.length} bytes`);
  const sealed = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (sealed.readUInt32BE(1) !== checksum(place, sealed)) throw corrupt(place, "its checksum is wrong");
  if (sealed[0] !== VERSION)
    throw corrupt(place, `it has version ${sealed[0]}, and only ${VERSION} is known`);
  return sealed.subarray(HEADER_BYTES);
}

function parse<T>(place: Place, contents: Buffer, schema: z.ZodType<T>): T {
  const parsed = schema.safeParse(decode(place, contents));
  if (parsed.success) return parsed.data;
  throw corrupt(place, z.prettifyError(parsed.error));
}

function decode(place: Place, contents: Buffer): unknown {
  try {
    // Not as a Buffer: its parts would be Buffers too, unlike those of the task that was accepted.
    return decodeValue(new Uint8Array(contents.buffer, contents.byteOffset, contents.length));
  } catch (error) {
    throw corrupt(place, (error as Error).message, error);
  }
}

function checksum({ table, key }: Place, bytes: Buffer): number {
  return crc32(bytes.subarray(HEADER_BYTES), crc32(bytes.subarray(0, 1), crc32(`${table}/${key}`)));
}
