/**
 * Stores the attempts of unfinished tasks, so that a restarted gateway knows who held what and how often a task has been tried.
 *
 * Not for every change at once: most tasks end within the delay, and then their record holds it all.
 */

import type { Clock, Timer } from "@legacygpu/shared/clock";
import type { TaskId } from "@legacygpu/shared/ids";
import type { Logger } from "@legacygpu/shared/log";
import type { Document, TaskStore } from "../store/task-store.ts";
import { countedAttempts, type TaskRecord } from "./record.ts";

const DELAY_MS = 20;

export interface AttemptJournalOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly store: TaskStore;
  /** What goes into the store with the news that a task was begun. */
  readonly onStarted: (task: TaskRecord) => readonly Document[];
  /** The change is stored. */
  readonly onSaved: (task: TaskRecord) => void;
}

export class AttemptJournal {
  readonly #options: AttemptJournalOptions;
  readonly #changed = new Map<TaskId, TaskRecord>();
  readonly #toldStarted = new Set<TaskId>();
  #timer: Timer | undefined;

  constructor(options: AttemptJournalOptions) {
    this.#options = options;
  }

  note(task: TaskRecord): void {
    this.#changed.set(task.id, task);
    this.#timer ??= this.#options.clock.after(DELAY_MS, () => this.#flush());
  }

  /** Its end is being stored, with everything that is known of it. */
  ended(id: TaskId): void {
    this.#changed.delete(id);
    this.#toldStarted.delete(id);
  }

  close(): void {
    this.#timer?.cancel();
  }

  #flush(): void {
    this.#timer = undefined;
    const changed = [...this.#changed.values()];
    this.#changed.clear();
    for (const task of changed) void this.#save(task);
  }

  async #save(task: TaskRecord): Promise<void> {
    const { store, log, onSaved } = this.#options;
    try {
      await store.saveAttempts(task, this.#startedDocuments(task));
      onSaved(task);
    } catch (error) {
      // Nothing that was accepted depends on it: after a restart the task is tried once more than it would have been.
      log.warn({ err: error, taskId: task.id }, "the attempts of a task were not stored");
    }
  }

  #startedDocuments(task: TaskRecord): readonly Document[] {
    if (task.webhook === undefined || this.#toldStarted.has(task.id) || countedAttempts(task) === 0)
      return [];
    this.#toldStarted.add(task.id);
    return this.#options.onStarted(task);
  }
}
