/**
 * Stored bytes ↔ the record of a task, and its attempts while it is unfinished.
 *
 * Both are sealed (`sealed.ts`). A record is its fixed part (`record-header.ts`) and an array of the other fields (`stored-forms.ts`). Attempts
 * are a token f64, the length u16 of the name of who holds it (0: all have ended), that name, and an array. Writing is by hand because every
 * task pays for it; what is read goes through a schema.
 */

import type { TaskId } from "@legacygpu/shared/ids";
import type { ModelRef } from "@legacygpu/shared/protocol/messages";
import { isFinal, PRIORITIES } from "@legacygpu/shared/task";
import {
  type AttemptRecord,
  type EarlierRound,
  groupOf,
  keptAttempt,
  type TaskRecord,
  type TaskTimings,
} from "../tasks/record.ts";
import { FIXED_BYTES, RecordHeader, type StoredParts, writeHeader } from "./record-header.ts";
import { corrupt, type Place, parseContents, SEAL_BYTES, seal, unseal } from "./sealed.ts";
import { attemptsSchema, BODY_FIELDS, bodySchema, digestBytes, WISHES } from "./stored-forms.ts";
import { ValueWriter } from "./value-writer.ts";

export const RECORD_VERSION = 2;
const ATTEMPTS_VERSION = 1;
const TOKEN = SEAL_BYTES;
const HOLDER_BYTES = TOKEN + 8;
const HOLDER = HOLDER_BYTES + 2;

const writer = new ValueWriter();
/** Thousands of tasks have the same model. */
const encodedModels = new WeakMap<ModelRef, Uint8Array>();

/** Without input and output; the attempts of an unfinished task are stored by themselves. */
export function encodeRecord(place: Place, task: TaskRecord, parts: StoredParts): Buffer {
  const isEnded = isFinal(task.state);
  writer.begin(FIXED_BYTES);
  const ownerBytes = writer.plain(task.tenant);
  const groupBytes = isEnded ? 0 : writer.plain(groupOf(task));
  const wishes = wishesOf(task);
  writer.array(wishes === 0 ? BODY_FIELDS : BODY_FIELDS + 1);
  writeOrder(task);
  writeRounds(task.earlierRounds);
  writer.number(task.startedAtMs);
  if (isEnded) writeAttempts(task.attempts);
  else writer.array(0);
  writer.value(task.error).number(task.outputBytes);
  writeTimings(task.timings);
  if (wishes !== 0) writer.number(wishes);
  const value = writer.finish();
  writeHeader(value, task, parts, { ownerBytes, groupBytes });
  return seal(place, value, RECORD_VERSION);
}

/** The record without its input and output. @throws `store_corrupt` */
export function decodeRecord(place: Place, value: Uint8Array): TaskRecord {
  const header = openRecord(place, value);
  const { state, owner } = header;
  const priority = PRIORITIES[header.classIndex];
  if (state === undefined || priority === undefined)
    throw corrupt(place, "its state or its class is unknown");
  const body = parseContents(place, value.subarray(header.bodyStart), bodySchema);
  const wishes = "wishes" in body ? body.wishes : 0;
  return {
    id: header.id,
    tenant: owner,
    model: body.model,
    outputs: body.outputs ?? undefined,
    priority,
    metadata: body.metadata,
    tags: body.tags,
    createdAtMs: body.createdAtMs,
    inputBytes: header.inputBytes,
    executionLimitMs: body.executionLimitMs ?? undefined,
    resultTtlMs: body.resultTtlMs,
    maxAttempts: body.maxAttempts,
    backoffMs: body.backoffMs,
    retryOn: body.retryOn ?? undefined,
    placement: body.placement ?? undefined,
    webhook: body.webhook ?? undefined,
    batch: body.batch ?? undefined,
    durability: body.durability,
    mayBeCopied: (wishes & WISHES.noCopies) === 0,
    wantsChoice: (wishes & WISHES.choice) !== 0,
    requestHash: body.requestHash ?? undefined,
    input: undefined,
    deadlineAtMs: header.deadlineAtMs,
    state,
    attempts: body.attempts,
    earlierRounds: body.earlierRounds,
    startedAtMs: body.startedAtMs ?? undefined,
    completedAtMs: header.endedAtMs,
    error: body.error ?? undefined,
    output: undefined,
    outputBytes: body.outputBytes ?? undefined,
    resultExpiresAtMs: header.resultExpiresAtMs,
    timings: body.timings ?? undefined,
    isDeadLetter: header.isDeadLetter,
    dataRemovedAtMs: header.dataRemovedAtMs,
  };
}

/** The fixed part alone. @throws `store_corrupt` */
export function openRecord(place: Place, value: Uint8Array): RecordHeader {
  unseal(place, value, RECORD_VERSION);
  return new RecordHeader(place.key as TaskId, Buffer.from(value.buffer, value.byteOffset, value.length));
}

export function encodeAttempts(place: Place, task: TaskRecord): Buffer {
  const kept = keptAttempt(task);
  writer.begin(HOLDER);
  const holderBytes = kept === undefined ? 0 : writer.plain(kept.workerId);
  writer.array(2).number(task.startedAtMs);
  writeAttempts(task.attempts);
  const value = writer.finish();
  value.writeDoubleLE((kept ?? task.attempts.at(-1))?.token ?? 0, TOKEN);
  value.writeUInt16LE(holderBytes, HOLDER_BYTES);
  return seal(place, value, ATTEMPTS_VERSION);
}

export interface Holder {
  readonly lastToken: number;
  readonly heldBy: string | undefined;
}

/** Who holds the task, without decoding its attempts. */
export function holderOf(value: Buffer): Holder {
  const end = HOLDER + value.readUInt16LE(HOLDER_BYTES);
  return {
    lastToken: value.readDoubleLE(TOKEN),
    heldBy: end === HOLDER ? undefined : value.toString("utf8", HOLDER, end),
  };
}

/** Into a record that was stored without them. @throws `store_corrupt` */
export function addAttempts(place: Place, value: Uint8Array, task: TaskRecord): void {
  const contents = unseal(place, value, ATTEMPTS_VERSION);
  const start = HOLDER - SEAL_BYTES + contents.readUInt16LE(HOLDER_BYTES - SEAL_BYTES);
  const { startedAtMs, attempts } = parseContents(place, contents.subarray(start), attemptsSchema);
  task.startedAtMs = startedAtMs ?? undefined;
  task.attempts.push(...attempts);
}

function writeOrder(task: TaskRecord): void {
  const { webhook, batch, metadata } = task;
  writer.raw(encodedModel(task.model)).texts(task.outputs);
  const keys = Object.keys(metadata);
  writer.map(keys.length);
  for (const key of keys) writer.text(key).text(metadata[key]);
  writer.texts(task.tags).number(task.createdAtMs).number(task.executionLimitMs).number(task.resultTtlMs);
  writer.number(task.maxAttempts).number(task.backoffMs).texts(task.retryOn).value(task.placement);
  if (webhook === undefined) writer.nil();
  else writer.array(2).text(webhook.endpointId).texts(webhook.events);
  if (batch === undefined) writer.nil();
  else writer.array(3).text(batch.id).number(batch.index).text(batch.reference);
  writer.text(task.durability).text(task.requestHash);
}

function wishesOf({ mayBeCopied, wantsChoice }: TaskRecord): number {
  return (mayBeCopied ? 0 : WISHES.noCopies) | (wantsChoice ? WISHES.choice : 0);
}

function encodedModel(model: ModelRef): Uint8Array {
  let encoded = encodedModels.get(model);
  if (encoded === undefined) {
    const { name, version, file, fileBytes, manifest } = model;
    const part = new ValueWriter().begin(0).array(5).text(name).text(version).binary(digestBytes(file));
    encoded = Uint8Array.from(part.number(fileBytes).binary(digestBytes(manifest)).finish());
    encodedModels.set(model, encoded);
  }
  return encoded;
}

function writeRounds(rounds: readonly EarlierRound[]): void {
  writer.array(rounds.length);
  for (const { state, error, endedAtMs, retriedAtMs, attempts } of rounds)
    writer.array(5).text(state).value(error).number(endedAtMs).number(retriedAtMs).number(attempts);
}

function writeAttempts(attempts: readonly AttemptRecord[]): void {
  writer.array(attempts.length);
  for (const attempt of attempts) {
    const { purpose } = attempt;
    writer
      .array(purpose === undefined ? 8 : 9)
      .number(attempt.token)
      .text(attempt.workerId)
      .text(attempt.site);
    writer.number(attempt.startedAtMs).number(attempt.acceptedAtMs).number(attempt.endedAtMs);
    writer.text(attempt.outcome).value(attempt.error);
    if (purpose !== undefined) writer.text(purpose);
  }
}

function writeTimings(timings: TaskTimings | undefined): void {
  if (timings === undefined) {
    writer.nil();
    return;
  }
  const { onWorker, queueMs, networkMs } = timings;
  const { batchSize } = onWorker;
  writer
    .array(batchSize === undefined ? 8 : 9)
    .number(queueMs)
    .number(networkMs);
  writer.number(onWorker.queuedMs).number(onWorker.fetchMs).number(onWorker.loadMs);
  writer.number(onWorker.preprocessMs).number(onWorker.executeMs).number(onWorker.postprocessMs);
  if (batchSize !== undefined) writer.number(batchSize);
}
