/**
 * Which records of waiting tasks stay in memory: the first few thousand, so that a short queue never reads the disk; of a long one
 * the rest is read when its turn comes.
 */

import { fail, toWireError } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import type { TaskInput } from "@legacygpu/shared/protocol/messages";
import { INLINE_PAYLOAD_BYTES } from "@legacygpu/shared/protocol/version";
import { PRIORITIES } from "@legacygpu/shared/task";
import { keptAttempt, newTask, requirementsOf, type TaskRecord } from "../tasks/record.ts";
import type { Entry } from "./entry.ts";

const MAX_KEPT = 8192;
const MAX_KEPT_BYTES = 64 * 1024 * 1024;
const NO_DIGEST = `sha256:${"0".repeat(64)}`;

/** Where the records of stored tasks are. Both throw `store_corrupt`. */
export interface StoredTasks {
  /** An unfinished task with its input. */
  load(id: TaskId): TaskRecord | undefined;
  /** The same without its input. */
  loadRecord(id: TaskId): TaskRecord | undefined;
}

export class Records {
  readonly #stored: StoredTasks;
  #kept = 0;
  #keptBytes = 0;

  constructor(stored: StoredTasks) {
    this.#stored = stored;
  }

  entered(entry: Entry): void {
    if (entry.task === undefined || !entry.isStored) return;
    this.#kept += 1;
    this.#keptBytes += entry.inputBytes;
  }

  left(entry: Entry): void {
    if (entry.task === undefined || !entry.isStored) return;
    this.#kept -= 1;
    this.#keptBytes -= entry.inputBytes;
  }

  /** A new task was not sent at once: its record stays in memory while there is room. */
  nowWaits(entry: Entry): void {
    if (entry.live.length > 0 || entry.task === undefined) return;
    if (this.#kept <= MAX_KEPT && this.#keptBytes <= MAX_KEPT_BYTES) return;
    this.left(entry);
    entry.task = undefined;
  }

  /** To be run: the record with its input. @throws `store_corrupt` */
  read(entry: Entry, nowMs: number): TaskRecord {
    const { task } = entry;
    if (task?.input !== undefined) return task;
    const stored = this.#stored.load(entry.id);
    if (task === undefined || stored === undefined) return this.remember(entry, stored, nowMs);
    task.input = stored.input;
    return task;
  }

  /** To be ended: the record. @throws `store_corrupt` */
  readRecord(entry: Entry, nowMs: number): TaskRecord {
    return entry.task ?? this.remember(entry, this.#stored.loadRecord(entry.id), nowMs);
  }

  /** A large input is read again if it is ever needed: it may be with a worker for long. */
  sent({ isStored, inputBytes, task }: Entry): void {
    if (isStored && task !== undefined && inputBytes > INLINE_PAYLOAD_BYTES) task.input = undefined;
  }

  inputOf({ id, isStored, task }: Entry): TaskInput | undefined {
    return task?.input ?? (isStored ? this.#stored.load(id)?.input : undefined);
  }

  /** What can be said of a task whose record is damaged. */
  damaged(entry: Entry, nowMs: number): TaskRecord {
    const { id, owner, group, classIndex, inputBytes } = entry;
    const { model, placement } = requirementsOf(group);
    const order = {
      id,
      tenant: owner,
      model: { ...model, file: NO_DIGEST, fileBytes: 0, manifest: NO_DIGEST },
      outputs: undefined,
      priority: PRIORITIES[classIndex] ?? "NORMAL",
      metadata: {},
      tags: [],
      createdAtMs: nowMs,
      inputBytes,
      executionLimitMs: undefined,
      resultTtlMs: 0,
      maxAttempts: 1,
      backoffMs: 0,
      retryOn: undefined,
      placement,
      webhook: undefined,
      batch: undefined,
      durability: "flushed",
      mayBeCopied: false,
      wantsChoice: false,
      requestHash: undefined,
    } as const;
    const task = newTask(order, { kind: "tensors", tensors: [] }, undefined);
    entry.task = task;
    this.entered(entry);
    return task;
  }

  /** @param stored what the store has of it; undefined: nothing, which it should. @throws `store_corrupt` */
  remember(entry: Entry, stored: TaskRecord | undefined, nowMs: number): TaskRecord {
    if (stored === undefined) throw fail("store_corrupt", `The stored record tasks/${entry.id} is missing.`);
    entry.task = stored;
    this.entered(entry);
    rememberHolder(entry, stored, nowMs);
    return stored;
  }
}

/** The attempts that had not ended when the gateway stopped: one of them is kept for its worker. */
function rememberHolder(entry: Entry, task: TaskRecord, nowMs: number): void {
  const kept = keptAttempt(task);
  for (const record of task.attempts) {
    if (record.endedAtMs !== undefined) continue;
    const { workerId } = record;
    entry.needTrouble.triedWorkerIds.add(workerId);
    if (record === kept) {
      const message = `Worker ${workerId} did not come back after the gateway was restarted.`;
      const error = toWireError(fail("worker_lost", message));
      entry.needTrouble.orphan = { record, lostAtMs: nowMs, error };
      continue;
    }
    const message = `The gateway was restarted, and waited for worker ${kept?.workerId} only.`;
    record.endedAtMs = nowMs;
    record.outcome = "worker_lost";
    record.error = toWireError(fail("worker_lost", message));
  }
}
