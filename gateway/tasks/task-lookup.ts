/** Where a task is found: with the scheduler while it is under way, in the store once it has ended. For one id, in lists, and waited for. */

import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import { isFinal } from "@legacygpu/shared/task";
import { isAdmin, type Principal } from "../auth/principal.ts";
import type { Scheduler } from "../scheduler/scheduler.ts";
import type { TaskQuery, TaskStore } from "../store/task-store.ts";
import type { TaskRecord } from "./record.ts";
import type { TaskWatch } from "./task-watch.ts";

export type TaskFilter = Omit<TaskQuery, "tenant" | "before"> & { readonly cursor?: string | undefined };

export interface TaskLookupOptions {
  readonly clock: Clock;
  readonly store: TaskStore;
  readonly scheduler: Scheduler;
  readonly watch: TaskWatch;
  /** Whether it is a synchronous inference: nobody's to look up. */
  readonly isUnstored: (id: TaskId) => boolean;
}

export class TaskLookup {
  readonly #options: TaskLookupOptions;

  constructor(options: TaskLookupOptions) {
    this.#options = options;
  }

  /** @throws `task_not_found`, also for tasks of others. */
  async get(principal: Principal, id: string): Promise<TaskRecord> {
    const task = await this.find(id as TaskId);
    if (task !== undefined && (task.tenant === principal.tenant || isAdmin(principal))) return task;
    throw fail("task_not_found", `There is no task ${id}.`);
  }

  async find(id: TaskId): Promise<TaskRecord | undefined> {
    const { scheduler, store, isUnstored } = this.#options;
    if (isUnstored(id)) return undefined;
    return scheduler.view.recordOf(id) ?? (await store.get(id));
  }

  async list(
    principal: Principal,
    filter: TaskFilter,
  ): Promise<{ tasks: TaskRecord[]; nextCursor: string | null }> {
    const { limit, cursor, ...rest } = filter;
    const tenant = isAdmin(principal) ? undefined : principal.tenant;
    const query = { ...rest, tenant, limit: limit + 1, before: cursor };
    const found = filter.state === "RUNNING" ? this.#running(query) : await this.#known(query);
    const tasks = found.slice(0, limit);
    return { tasks, nextCursor: found.length > limit ? (tasks.at(-1)?.id ?? null) : null };
  }

  async wait(
    task: TaskRecord,
    timeoutMs: number,
    isEnough: (task: TaskRecord) => boolean = ({ state }) => isFinal(state),
  ): Promise<TaskRecord> {
    const { clock, scheduler, watch } = this.#options;
    const isLate = await new Promise<boolean>((resolve) => {
      const finish = (late: boolean): void => {
        timer.cancel();
        stop();
        resolve(late);
      };
      const timer = clock.after(timeoutMs, () => finish(true));
      const stop = watch.watch(task.id, (changed) => {
        if (isEnough(changed)) finish(false);
      });
      // It may have ended, or be stored as ended in this moment.
      void this.find(task.id).then((now) => {
        if (now === undefined || isEnough(now)) finish(false);
      });
    });
    const latest = isLate ? scheduler.view.recordOf(task.id) : await this.find(task.id);
    return latest ?? task;
  }

  #known(query: TaskQuery): Promise<TaskRecord[]> {
    const { scheduler, store } = this.#options;
    return store.list(query, (id) => scheduler.view.recordOf(id));
  }

  #running({ tenant, model, site, tag, batchId, limit, before }: TaskQuery): TaskRecord[] {
    const { scheduler, isUnstored } = this.#options;
    return scheduler.view
      .running()
      .filter((task) => !isUnstored(task.id))
      .filter((task) => tenant === undefined || task.tenant === tenant)
      .filter((task) => model === undefined || task.model.name === model)
      .filter((task) => site === undefined || task.attempts.some((attempt) => attempt.site === site))
      .filter((task) => tag === undefined || task.tags.includes(tag))
      .filter((task) => batchId === undefined || task.batch?.id === batchId)
      .filter((task) => before === undefined || task.id < before)
      .sort((a, b) => (a.id < b.id ? 1 : -1))
      .slice(0, limit);
  }
}
