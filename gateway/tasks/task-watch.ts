/** Who wants to hear of which task, and of which owner's tasks. Told only of what is stored. */

import type { TaskId } from "@legacygpu/shared/ids";
import type { TaskRecord } from "./record.ts";

type Listener = (task: TaskRecord) => void;

export class TaskWatch {
  readonly #ofTask = new Map<TaskId, Set<Listener>>();
  readonly #ofAll = new Set<Listener>();

  announce(task: TaskRecord): void {
    const listeners = this.#ofTask.get(task.id);
    if (listeners !== undefined) for (const listener of [...listeners]) listener(task);
    if (this.#ofAll.size > 0) for (const listener of [...this.#ofAll]) listener(task);
  }

  /** @returns ends the watch. */
  watch(id: TaskId, listener: Listener): () => void {
    const listeners = this.#ofTask.get(id);
    if (listeners === undefined) this.#ofTask.set(id, new Set([listener]));
    else listeners.add(listener);
    return () => {
      const left = this.#ofTask.get(id);
      left?.delete(listener);
      if (left?.size === 0) this.#ofTask.delete(id);
    };
  }

  /** @returns ends the watch. */
  watchAll(listener: Listener): () => void {
    this.#ofAll.add(listener);
    return () => this.#ofAll.delete(listener);
  }
}
