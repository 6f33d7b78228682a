/** Tasks in the gateway's memory: as fast as can be, gone when the process ends. Finished tasks beyond a bound are forgotten, oldest first. */

import type { TaskId } from "@legacygpu/shared/ids";
import { isFinal } from "@legacygpu/shared/task";
import type { TaskRecord } from "../tasks/record.ts";
import type { TaskQuery, TaskStore } from "./task-store.ts";

export class MemoryTaskStore implements TaskStore {
  readonly #maxFinished: number;
  /** In the order of insertion, which is the order of ids. */
  readonly #tasks = new Map<TaskId, TaskRecord>();
  readonly #finished = new Set<TaskId>();

  constructor({ maxFinished }: { readonly maxFinished: number }) {
    this.#maxFinished = maxFinished;
  }

  async insert(task: TaskRecord): Promise<void> {
    this.#tasks.set(task.id, task);
  }

  async update(task: TaskRecord): Promise<void> {
    if (!isFinal(task.state)) return;
    this.#finished.add(task.id);
    if (this.#finished.size <= this.#maxFinished) return;
    const [oldest] = this.#finished;
    if (oldest === undefined) return;
    this.#finished.delete(oldest);
    this.#tasks.delete(oldest);
  }

  async get(id: TaskId): Promise<TaskRecord | undefined> {
    return this.#tasks.get(id);
  }

  async list({ ownerKeyId, state, model, limit, before }: TaskQuery): Promise<TaskRecord[]> {
    const found: TaskRecord[] = [];
    for (const task of [...this.#tasks.values()].reverse()) {
      if (found.length === limit) break;
      if (before !== undefined && task.id >= before) continue;
      if (ownerKeyId !== undefined && task.ownerKeyId !== ownerKeyId) continue;
      if (state !== undefined && task.state !== state) continue;
      if (model !== undefined && task.model.name !== model) continue;
      found.push(task);
    }
    return found;
  }

  unfinished(): TaskRecord[] {
    return [...this.#tasks.values()].filter(({ id }) => !this.#finished.has(id));
  }

  async close(): Promise<void> {
    this.#tasks.clear();
    this.#finished.clear();
  }
}
