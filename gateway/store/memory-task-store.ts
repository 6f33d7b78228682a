/** Tasks in the gateway's memory: gone when the process ends. */

import { type Clock, systemClock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import type { TaskInput, TaskOutput } from "@legacygpu/shared/protocol/messages";
import { isFinal, PRIORITIES } from "@legacygpu/shared/task";
import { groupOf, keptAttempt, type TaskRecord } from "../tasks/record.ts";
import { MemoryDocuments } from "./memory-documents.ts";
import type { RetentionLimits } from "./retention.ts";
import { matches } from "./task-query.ts";
import type { Document, Live, PendingTask, TaskQuery, TaskStore } from "./task-store.ts";

export interface MemoryTaskStoreOptions extends Partial<RetentionLimits> {
  readonly maxFinished: number;
  /** Default: the system's. */
  readonly clock?: Clock;
}

/** A task as it was written last, apart from what goes on being changed outside. */
interface Stored {
  record: TaskRecord;
  input: TaskInput | undefined;
  output: TaskOutput | undefined;
}

const UNLIMITED = Number.POSITIVE_INFINITY;

export class MemoryTaskStore implements TaskStore {
  readonly documents: MemoryDocuments;
  readonly #limits: RetentionLimits;
  readonly #clock: Clock;
  readonly #unfinished = new Map<TaskId, Stored>();
  /** In the order in which they ended. */
  readonly #finished = new Map<TaskId, Stored>();

  constructor({
    maxFinished,
    maxFinishedAgeMs = UNLIMITED,
    maxStoredBytes = UNLIMITED,
    clock = systemClock,
  }: MemoryTaskStoreOptions) {
    this.#limits = { maxFinished, maxFinishedAgeMs, maxStoredBytes };
    this.#clock = clock;
    this.documents = new MemoryDocuments(clock);
  }

  async insert(tasks: readonly TaskRecord[], documents: readonly Document[] = []): Promise<void> {
    for (const task of tasks)
      this.#unfinished.set(task.id, { record: copyOf(task), input: task.input, output: undefined });
    this.documents.add(documents);
  }

  async saveAttempts(task: TaskRecord, documents: readonly Document[] = []): Promise<void> {
    const stored = this.#unfinished.get(task.id);
    if (stored === undefined) return;
    stored.record.startedAtMs = task.startedAtMs;
    stored.record.attempts.splice(0, stored.record.attempts.length, ...copyOf(task).attempts);
    this.documents.add(documents);
  }

  async finish(task: TaskRecord, documents: readonly Document[] = []): Promise<void> {
    const stored = this.#unfinished.get(task.id);
    if (stored === undefined) return;
    const mayRetry =
      (task.state === "FAILED" || task.state === "TIMED_OUT") && task.dataRemovedAtMs === undefined;
    this.#unfinished.delete(task.id);
    this.#finished.set(task.id, {
      record: copyOf(task),
      input: mayRetry ? stored.input : undefined,
      output: task.output,
    });
    this.documents.add(documents);
    if (this.#finished.size > this.#limits.maxFinished) this.#forget();
  }

  async reopen(task: TaskRecord): Promise<void> {
    const input = this.#finished.get(task.id)?.input;
    if (input === undefined)
      throw fail("task_not_retryable", `Task ${task.id} has no input any more.`, { dataRemoved: true });
    this.#finished.delete(task.id);
    this.#unfinished.set(task.id, { record: copyOf(task), input, output: undefined });
  }

  async removeData(ids: readonly TaskId[], nowMs: number): Promise<void> {
    for (const id of ids) {
      const stored = this.#finished.get(id);
      if (stored !== undefined && stored.record.dataRemovedAtMs === undefined) removeData(stored, nowMs);
    }
  }

  load(id: TaskId): TaskRecord | undefined {
    const stored = this.#unfinished.get(id);
    return stored === undefined ? undefined : Object.assign(copyOf(stored.record), { input: stored.input });
  }

  loadRecord(id: TaskId): TaskRecord | undefined {
    const stored = this.#unfinished.get(id);
    return stored === undefined ? undefined : copyOf(stored.record);
  }

  hasInput(id: TaskId): boolean {
    return this.#finished.get(id)?.input !== undefined;
  }

  async get(id: TaskId): Promise<TaskRecord | undefined> {
    const stored = this.#stored(id);
    return stored === undefined ? undefined : Object.assign(copyOf(stored.record), { output: stored.output });
  }

  async list(query: TaskQuery, live: Live): Promise<TaskRecord[]> {
    const { state, before, limit } = query;
    const parts =
      state === undefined
        ? [this.#unfinished, this.#finished]
        : [isFinal(state) ? this.#finished : this.#unfinished];
    const ids = parts.flatMap((part) => [...part.keys()]).filter((id) => before === undefined || id < before);
    const found: TaskRecord[] = [];
    for (const id of ids.sort().reverse()) {
      if (found.length === limit) break;
      const alive = live(id);
      const task = alive ?? this.#stored(id)?.record;
      if (task !== undefined && matches(task, query)) found.push(alive ?? copyOf(task));
    }
    return found;
  }

  *unfinished(): Generator<PendingTask> {
    for (const id of [...this.#unfinished.keys()].sort()) {
      const record = this.#unfinished.get(id)?.record;
      if (record === undefined) continue;
      const kept = keptAttempt(record);
      yield {
        id,
        tenant: record.tenant,
        classIndex: PRIORITIES.indexOf(record.priority),
        group: groupOf(record),
        inputBytes: record.inputBytes,
        deadlineAtMs: record.deadlineAtMs,
        lastToken: (kept ?? record.attempts.at(-1))?.token ?? 0,
        heldBy: kept?.workerId,
      };
    }
  }

  /** Forgets now what is due. */
  sweep(): void {
    const nowMs = this.#clock.now();
    this.documents.sweep();
    for (const stored of this.#finished.values()) {
      const { resultExpiresAtMs } = stored.record;
      if (stored.output !== undefined && resultExpiresAtMs !== undefined && resultExpiresAtMs < nowMs)
        removeData(stored, nowMs);
    }
    this.#makeRoom(nowMs);
    this.#forget();
  }

  async close(): Promise<void> {
    this.#unfinished.clear();
    this.#finished.clear();
  }

  #stored(id: TaskId): Stored | undefined {
    return this.#unfinished.get(id) ?? this.#finished.get(id);
  }

  #makeRoom(nowMs: number): void {
    const sizeOf = ({ record, input, output }: Stored): number =>
      (input === undefined ? 0 : record.inputBytes) + (output === undefined ? 0 : (record.outputBytes ?? 0));
    let storedBytes = 0;
    for (const stored of this.#finished.values()) storedBytes += sizeOf(stored);
    for (const stored of this.#finished.values()) {
      if (storedBytes <= this.#limits.maxStoredBytes) return;
      storedBytes -= sizeOf(stored);
      if (stored.input !== undefined || stored.output !== undefined) removeData(stored, nowMs);
    }
  }

  #forget(): void {
    const { maxFinished, maxFinishedAgeMs } = this.#limits;
    const latestMs = this.#clock.now() - maxFinishedAgeMs;
    let excess = this.#finished.size - maxFinished;
    for (const { record } of this.#finished.values()) {
      if (excess <= 0 && (record.completedAtMs ?? 0) >= latestMs) return;
      this.#finished.delete(record.id);
      excess -= 1;
    }
  }
}

function removeData(stored: Stored, nowMs: number): void {
  stored.input = undefined;
  stored.output = undefined;
  stored.record.isDeadLetter = false;
  stored.record.dataRemovedAtMs = nowMs;
}

/** Without input and output. */
function copyOf(task: TaskRecord): TaskRecord {
  const attempts = task.attempts.map((attempt) => ({ ...attempt }));
  return { ...task, input: undefined, output: undefined, attempts, earlierRounds: [...task.earlierRounds] };
}
