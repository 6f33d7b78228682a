/** What a store should contain, kept in the simplest way: to compare with. */

import type { TaskId } from "@legacygpu/shared/ids";
import { isFinal, PRIORITIES, type TaskState } from "@legacygpu/shared/task";
import type { Document, Live, PendingTask, TaskQuery } from "../../gateway/store/task-store.ts";
import { beginAnew, groupOf, type TaskRecord } from "../../gateway/tasks/record.ts";
import type { ManualClock } from "../support/manual-clock.ts";
import { endTask, inputFor, startTask, withoutData } from "./sample-tasks.ts";

interface Stored {
  /** As it was written last, with what it should have of its data. */
  record: TaskRecord;
  isUnfinished: boolean;
}

export class PlainStore {
  readonly notes = new Map<string, Document>();
  readonly #clock: ManualClock;
  /** In the order of their ids. */
  readonly #tasks: Stored[] = [];

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  /** Counted from the newest, so that short sequences meet their own tasks. */
  recent(index: number): TaskId | undefined {
    return this.#tasks.at(-1 - index)?.record.id;
  }

  insert(tasks: readonly TaskRecord[]): void {
    for (const task of tasks) this.#tasks.push({ record: structuredClone(task), isUnfinished: true });
  }

  /** @returns the record to be stored, like those of the next three. */
  start(id: TaskId | undefined, site: string): TaskRecord | undefined {
    const stored = this.#unfinished(id);
    if (stored === undefined) return undefined;
    const task = structuredClone(stored.record);
    startTask(task, { site, token: task.attempts.length + 1 });
    stored.record.attempts.splice(0, stored.record.attempts.length, ...task.attempts);
    stored.record.startedAtMs = task.startedAtMs;
    return structuredClone(task);
  }

  end(id: TaskId | undefined, to: TaskState): TaskRecord | undefined {
    const stored = this.#unfinished(id);
    if (stored === undefined) return undefined;
    const { input } = stored.record;
    if (to === "COMPLETED" && stored.record.attempts.length === 0) startTask(stored.record);
    else if (to === "COMPLETED") stored.record.state = "RUNNING";
    const ended = endTask(stored.record, to, this.#clock.now());
    stored.isUnfinished = false;
    const given = structuredClone(ended);
    ended.input = to === "FAILED" || to === "TIMED_OUT" ? input : undefined;
    return given;
  }

  beginAgain(id: TaskId | undefined): TaskRecord | undefined {
    const stored = this.#tasks.find(({ record }) => record.id === id);
    if (stored === undefined || stored.isUnfinished || stored.record.input === undefined) return undefined;
    beginAnew(stored.record, this.#clock.now());
    stored.isUnfinished = true;
    return withoutData(structuredClone(stored.record));
  }

  removeData(id: TaskId, nowMs: number): void {
    const stored = this.#tasks.find(({ record }) => record.id === id);
    if (stored === undefined || stored.isUnfinished || stored.record.dataRemovedAtMs !== undefined) return;
    Object.assign(stored.record, {
      input: undefined,
      output: undefined,
      isDeadLetter: false,
      dataRemovedAtMs: nowMs,
    });
  }

  expire(): void {
    const nowMs = this.#clock.now();
    for (const { record } of this.#tasks)
      if (record.output !== undefined && (record.resultExpiresAtMs ?? nowMs) < nowMs)
        this.removeData(record.id, nowMs);
    for (const [id, { expiresAtMs }] of this.notes)
      if (expiresAtMs !== undefined && expiresAtMs < nowMs) this.notes.delete(id);
  }

  get(id: TaskId): TaskRecord | undefined {
    const record = this.#tasks.find(({ record }) => record.id === id)?.record;
    return record === undefined ? undefined : { ...record, input: undefined };
  }

  load(id: TaskId): TaskRecord | undefined {
    const record = this.#unfinished(id)?.record;
    return record === undefined ? undefined : structuredClone({ ...record, input: inputFor(id) });
  }

  hasInput(id: TaskId): boolean {
    return this.#tasks.some(
      ({ record, isUnfinished }) => record.id === id && !isUnfinished && record.input !== undefined,
    );
  }

  find(query: TaskQuery, live: Live): TaskRecord[] {
    const { tenant, state, model, site, tag, batchId, isDeadLetter, before, limit } = query;
    return this.#tasks
      .filter(({ isUnfinished }) => state === undefined || isUnfinished !== isFinal(state))
      .map(({ record }) => live(record.id) ?? withoutData(record))
      .filter((task) => tenant === undefined || task.tenant === tenant)
      .filter((task) => state === undefined || task.state === state)
      .filter((task) => model === undefined || task.model.name === model)
      .filter((task) => site === undefined || task.attempts.some((attempt) => attempt.site === site))
      .filter((task) => tag === undefined || task.tags.includes(tag))
      .filter((task) => batchId === undefined || task.batch?.id === batchId)
      .filter((task) => isDeadLetter === undefined || task.isDeadLetter)
      .filter((task) => before === undefined || task.id < before)
      .reverse()
      .slice(0, limit);
  }

  unfinished(): PendingTask[] {
    return this.#tasks
      .filter(({ isUnfinished }) => isUnfinished)
      .map(({ record }) => {
        const last = record.attempts.at(-1);
        return {
          id: record.id,
          tenant: record.tenant,
          classIndex: PRIORITIES.indexOf(record.priority),
          group: groupOf(record),
          inputBytes: record.inputBytes,
          deadlineAtMs: record.deadlineAtMs,
          lastToken: last?.token ?? 0,
          heldBy: last === undefined || last.endedAtMs !== undefined ? undefined : last.workerId,
        };
      });
  }

  put(document: Document): void {
    this.notes.set(document.id, document);
  }

  list(
    after: string | undefined,
    order: "rising" | "falling",
    limit: number,
  ): { id: string; value: unknown }[] {
    const ids = [...this.notes.keys()].filter((id) => after === undefined || id > after).sort();
    if (order === "falling") ids.reverse();
    return ids.slice(0, limit).map((id) => ({ id, value: this.notes.get(id)?.value }));
  }

  #unfinished(id: TaskId | undefined): Stored | undefined {
    return this.#tasks.find(({ record, isUnfinished }) => record.id === id && isUnfinished);
  }
}
