/**
 * Everything that can be asked of tasks: submit, look up, list, wait, cancel.
 *
 * A stored task is in the store before it is in the queue, and its end is in the store before anybody is told of it. A synchronous
 * inference has the same queue, priorities, retries and failover, but lives only as long as its request.
 */

import type { Clock } from "@legacygpu/shared/clock";
import { asLegacyGpuError, fail, fromWireError } from "@legacygpu/shared/errors";
import { SortableIds, type TaskId } from "@legacygpu/shared/ids";
import type { Logger } from "@legacygpu/shared/log";
import type { TaskInput } from "@legacygpu/shared/protocol/messages";
import { isFinal, type Priority, type TaskState } from "@legacygpu/shared/task";
import { isAdmin, type Principal } from "../auth/principal.ts";
import type { Model } from "../models/catalogue.ts";
import type { Scheduler } from "../scheduler/scheduler.ts";
import type { TaskStore } from "../store/task-store.ts";
import { newTask, type TaskRecord } from "./record.ts";

const MAX_ATTEMPTS = 3;
/** How soon the end of a task is stored again when the disk was full. */
const END_RETRY_MS = 1000;

export interface Submission {
  readonly model: Model;
  readonly input: TaskInput;
  readonly outputs?: readonly string[] | undefined;
  readonly priority: Priority;
  /** From now; absent: none. */
  readonly deadlineMs?: number | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export interface TaskFilter {
  readonly state?: TaskState | undefined;
  readonly model?: string | undefined;
  readonly limit: number;
  readonly cursor?: string | undefined;
}

export interface TaskServiceOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly store: TaskStore;
  readonly scheduler: Scheduler;
}

/** A synchronous inference under way. */
export interface Inference {
  /** Rejects with the error that ended the task. */
  readonly done: Promise<TaskRecord>;
  readonly id: TaskId;
  cancel(reason: string): void;
}

export class TaskService {
  readonly #options: TaskServiceOptions;
  readonly #ids = new SortableIds();
  readonly #listeners = new Map<TaskId, Set<(task: TaskRecord) => void>>();
  /** Stored tasks that have not ended: only these are written when they do. */
  readonly #stored = new Set<TaskId>();
  /** Tasks that are on their way into the store: they have their place in the queue already. */
  #arriving = 0;

  constructor(options: TaskServiceOptions) {
    this.#options = options;
  }

  /** Takes up what an earlier start of this gateway accepted and did not end. Called once, before the first worker comes. */
  restore(): void {
    const { scheduler, store, log } = this.#options;
    const tasks = store.unfinished();
    for (const { id } of tasks) this.#stored.add(id);
    for (const task of tasks.reverse()) scheduler.restore(task);
    if (tasks.length > 0) log.info({ tasks: tasks.length }, "tasks of an earlier start are taken up");
  }

  /** When this has resolved the task is in the store. @throws `queue_full`, `store_full`, `store_failed` */
  async submit(principal: Principal, submission: Submission): Promise<TaskRecord> {
    const { scheduler, store } = this.#options;
    scheduler.assertRoom(this.#arriving);
    const task = this.#create(principal, submission);
    this.#arriving += 1;
    try {
      await store.insert(task);
    } finally {
      this.#arriving -= 1;
    }
    this.#stored.add(task.id);
    scheduler.submit(task);
    return task;
  }

  /** @throws `queue_full` */
  infer(principal: Principal, submission: Submission): Inference {
    const { scheduler } = this.#options;
    scheduler.assertRoom(this.#arriving);
    const task = this.#create(principal, submission);
    const done = new Promise<TaskRecord>((resolve, reject) => {
      this.#listen(task.id, (ended) => {
        if (ended.error === undefined) resolve(ended);
        else reject(fromWireError(ended.error));
      });
    });
    scheduler.submit(task);
    return { done, id: task.id, cancel: (reason) => scheduler.cancel(task.id, reason) };
  }

  /** @throws `task_not_found`, also for tasks of others. */
  async get(principal: Principal, id: string): Promise<TaskRecord> {
    const task = await this.#options.store.get(id as TaskId);
    if (task !== undefined && (task.ownerKeyId === principal.keyId || isAdmin(principal))) return task;
    throw fail("task_not_found", `There is no task ${id}.`);
  }

  /** Newest first; admins see everybody's. */
  async list(
    principal: Principal,
    filter: TaskFilter,
  ): Promise<{ tasks: TaskRecord[]; nextCursor: string | null }> {
    const { limit, cursor, state, model } = filter;
    const ownerKeyId = isAdmin(principal) ? undefined : principal.keyId;
    const found = await this.#options.store.list({
      ownerKeyId,
      state,
      model,
      limit: limit + 1,
      before: cursor,
    });
    const tasks = found.slice(0, limit);
    return { tasks, nextCursor: found.length > limit ? (tasks.at(-1)?.id ?? null) : null };
  }

  /** Idempotent: a task that has ended stays as it is. @throws `task_not_found` */
  async cancel(principal: Principal, id: string): Promise<TaskRecord> {
    const task = await this.get(principal, id);
    this.#options.scheduler.cancel(task.id, "Cancelled by its owner.");
    return task;
  }

  /** Resolves when the task has ended, or after `timeoutMs`. */
  wait(task: TaskRecord, timeoutMs: number): Promise<void> {
    if (isFinal(task.state) && !this.#stored.has(task.id)) return Promise.resolve();
    return new Promise((resolve) => {
      const finish = (): void => {
        timer.cancel();
        this.#unlisten(task.id, finish);
        resolve();
      };
      const timer = this.#options.clock.after(timeoutMs, finish);
      this.#listen(task.id, finish);
    });
  }

  pendingReason(task: TaskRecord): string | undefined {
    return this.#options.scheduler.pendingReason(task.id);
  }

  /** For the scheduler: the task has reached a final state. */
  settled(task: TaskRecord): void {
    if (!this.#stored.has(task.id)) {
      this.#announce(task);
      return;
    }
    this.#storeEnd(task);
  }

  /** Nobody is told of an end that is not stored: the task would run again after a restart. */
  #storeEnd(task: TaskRecord): void {
    const { store, clock, log } = this.#options;
    store.update(task).then(
      () => {
        this.#stored.delete(task.id);
        this.#announce(task);
      },
      (error: unknown) => {
        log.error({ err: error, taskId: task.id }, "the end of a task was not stored");
        if (asLegacyGpuError(error).code === "store_full")
          clock.after(END_RETRY_MS, () => this.#storeEnd(task));
      },
    );
  }

  #create(principal: Principal, submission: Submission): TaskRecord {
    const nowMs = this.#options.clock.now();
    const { model, input, outputs, priority, deadlineMs, metadata } = submission;
    return newTask({
      id: this.#ids.nextTaskId(nowMs),
      ownerKeyId: principal.keyId,
      model: model.ref,
      input,
      outputs,
      priority,
      metadata: metadata ?? {},
      createdAtMs: nowMs,
      deadlineAtMs: deadlineMs === undefined ? undefined : nowMs + deadlineMs,
      maxAttempts: MAX_ATTEMPTS,
    });
  }

  #announce(task: TaskRecord): void {
    const listeners = this.#listeners.get(task.id);
    this.#listeners.delete(task.id);
    for (const listener of listeners ?? []) listener(task);
  }

  #listen(id: TaskId, listener: (task: TaskRecord) => void): void {
    const listeners = this.#listeners.get(id);
    if (listeners === undefined) this.#listeners.set(id, new Set([listener]));
    else listeners.add(listener);
  }

  #unlisten(id: TaskId, listener: (task: TaskRecord) => void): void {
    const listeners = this.#listeners.get(id);
    listeners?.delete(listener);
    if (listeners?.size === 0) this.#listeners.delete(id);
  }
}
