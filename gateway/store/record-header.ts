/**
 * The fixed part of a stored record: what a search, a sweep or a restart needs to know of a task without decoding it.
 *
 * state u8, class u8, flags u8, deadline f64, bytes of the input f64, end f64, expiry of the result f64, removal of the data f64, CRC-32 of the
 * model's name u32, bits of tags and of sites u32 each, CRC-32 of the batch u32, lengths of owner and group u16 each, owner, group. Numbers are
 * little-endian; a time that is not known is NaN. A tag or a site sets one bit, chosen by its CRC-32: a record without the bit does not have it.
 */

import type { TaskId } from "@legacygpu/shared/ids";
import { PRIORITIES, TASK_STATES, type TaskState } from "@legacygpu/shared/task";
import type { TaskRecord } from "../tasks/record.ts";
import { crcOfText } from "./crc.ts";
import { timeKey } from "./index-keys.ts";
import { SEAL_BYTES } from "./sealed.ts";

const FLAGS = SEAL_BYTES + 2;
const DEADLINE = SEAL_BYTES + 3;
const INPUT_BYTES = DEADLINE + 8;
const ENDED = INPUT_BYTES + 8;
const EXPIRES = ENDED + 8;
const REMOVED = EXPIRES + 8;
const MODEL = REMOVED + 8;
const TAGS = MODEL + 4;
const SITES = TAGS + 4;
const BATCH = SITES + 4;
const OWNER_BYTES = BATCH + 4;
const GROUP_BYTES = OWNER_BYTES + 2;
/** From the beginning of the value, seal included. */
export const FIXED_BYTES = GROUP_BYTES + 2;

const HAS_OUTPUT = 1;
const HAS_INPUT = 2;
const IS_DEAD_LETTER = 4;

/** Which parts of a task are stored beside its record. */
export interface StoredParts {
  readonly hasInput: boolean;
  readonly hasOutput: boolean;
}

/** What a search wants; absent: anything. */
export interface RecordFilter {
  readonly state?: TaskState | undefined;
  readonly model?: string | undefined;
  readonly site?: string | undefined;
  readonly tag?: string | undefined;
  readonly batchId?: string | undefined;
}

/** @param value with room for the fixed part; owner and group are there already. */
export function writeHeader(
  value: Buffer,
  task: TaskRecord,
  parts: StoredParts,
  lengths: HeaderLengths,
): void {
  value[SEAL_BYTES] = TASK_STATES.indexOf(task.state);
  value[SEAL_BYTES + 1] = PRIORITIES.indexOf(task.priority);
  value[FLAGS] =
    (parts.hasOutput ? HAS_OUTPUT : 0) |
    (parts.hasInput ? HAS_INPUT : 0) |
    (task.isDeadLetter ? IS_DEAD_LETTER : 0);
  writeTime(value, DEADLINE, task.deadlineAtMs);
  value.writeDoubleLE(task.inputBytes, INPUT_BYTES);
  writeTime(value, ENDED, task.completedAtMs);
  writeTime(value, EXPIRES, task.resultExpiresAtMs);
  writeTime(value, REMOVED, task.dataRemovedAtMs);
  value.writeUInt32LE(crcOfText(task.model.name), MODEL);
  let tags = 0;
  for (const tag of task.tags) tags |= bitOf(tag);
  value.writeUInt32LE(tags >>> 0, TAGS);
  let sites = 0;
  for (const { site } of task.attempts) sites |= bitOf(site);
  value.writeUInt32LE(sites >>> 0, SITES);
  value.writeUInt32LE(task.batch === undefined ? 0 : crcOfText(task.batch.id), BATCH);
  value.writeUInt16LE(lengths.ownerBytes, OWNER_BYTES);
  value.writeUInt16LE(lengths.groupBytes, GROUP_BYTES);
}

export interface HeaderLengths {
  readonly ownerBytes: number;
  readonly groupBytes: number;
}

/** The fixed part of one stored record, in place. */
export class RecordHeader {
  readonly id: TaskId;
  readonly #value: Buffer;

  /** @param value sealed; whoever does not trust it has checked the seal. */
  constructor(id: TaskId, value: Buffer) {
    this.id = id;
    this.#value = value;
  }

  get state(): TaskState | undefined {
    return TASK_STATES[this.#value[SEAL_BYTES] ?? -1];
  }
  get classIndex(): number {
    return this.#value[SEAL_BYTES + 1] ?? 0;
  }
  get hasOutput(): boolean {
    return ((this.#value[FLAGS] ?? 0) & HAS_OUTPUT) !== 0;
  }
  get hasInput(): boolean {
    return ((this.#value[FLAGS] ?? 0) & HAS_INPUT) !== 0;
  }
  get isDeadLetter(): boolean {
    return ((this.#value[FLAGS] ?? 0) & IS_DEAD_LETTER) !== 0;
  }
  get deadlineAtMs(): number | undefined {
    return readTime(this.#value, DEADLINE);
  }
  get inputBytes(): number {
    return this.#value.readDoubleLE(INPUT_BYTES);
  }
  get endedAtMs(): number | undefined {
    return readTime(this.#value, ENDED);
  }
  get resultExpiresAtMs(): number | undefined {
    return readTime(this.#value, EXPIRES);
  }
  get dataRemovedAtMs(): number | undefined {
    return readTime(this.#value, REMOVED);
  }
  /** Of a record that begins at `start`. */
  static ownerBytes(bytes: Buffer, start: number): number {
    return bytes.readUInt16LE(start + OWNER_BYTES);
  }

  get owner(): string {
    return this.#value.toString("utf8", FIXED_BYTES, FIXED_BYTES + this.#value.readUInt16LE(OWNER_BYTES));
  }
  get group(): string {
    const start = FIXED_BYTES + this.#value.readUInt16LE(OWNER_BYTES);
    return this.#value.toString("utf8", start, start + this.#value.readUInt16LE(GROUP_BYTES));
  }
  /** One text for both and their lengths, by which they are known again. */
  get ownerAndGroup(): string {
    return this.#value.toString("latin1", OWNER_BYTES, this.bodyStart);
  }
  get bodyStart(): number {
    return FIXED_BYTES + this.#value.readUInt16LE(OWNER_BYTES) + this.#value.readUInt16LE(GROUP_BYTES);
  }

  /** False: the record is certainly not wanted. */
  mayMatch({ state, model, site, tag, batchId }: RecordFilter): boolean {
    const value = this.#value;
    if (state !== undefined && this.state !== state) return false;
    if (model !== undefined && value.readUInt32LE(MODEL) !== crcOfText(model)) return false;
    if (tag !== undefined && (value.readUInt32LE(TAGS) & bitOf(tag)) === 0) return false;
    if (site !== undefined && (value.readUInt32LE(SITES) & bitOf(site)) === 0) return false;
    return batchId === undefined || value.readUInt32LE(BATCH) === crcOfText(batchId);
  }
}

/** What else there must be of a task that has ended. */
export function keysOfFinished(header: RecordHeader): [table: string, key: string][] {
  const { id, endedAtMs = 0, resultExpiresAtMs, hasInput, hasOutput, isDeadLetter } = header;
  const keys: [string, string][] = [["finished", timeKey(endedAtMs, id)]];
  if (hasInput) keys.push(["kept", id]);
  if (isDeadLetter) keys.push(["dead", id]);
  if (hasOutput) keys.push(["outputs", id]);
  if (hasOutput && resultExpiresAtMs !== undefined) keys.push(["expiring", timeKey(resultExpiresAtMs, id)]);
  return keys;
}

/** A copy of the record of a task without its data; not sealed yet. */
export function withoutData(value: Uint8Array, removedAtMs: number): Buffer {
  const copy = Buffer.from(value);
  copy[FLAGS] = 0;
  copy.writeDoubleLE(removedAtMs, REMOVED);
  return copy;
}

function writeTime(value: Buffer, offset: number, timeMs: number | undefined): void {
  value.writeDoubleLE(timeMs ?? Number.NaN, offset);
}

function readTime(value: Buffer, offset: number): number | undefined {
  const timeMs = value.readDoubleLE(offset);
  return Number.isNaN(timeMs) ? undefined : timeMs;
}

const bitOf = (text: string): number => 1 << (crcOfText(text) & 31);
