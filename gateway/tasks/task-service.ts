/**
 * Everything that can be asked of tasks: submit, look up, list, wait, cancel, retry, remove.
 *
 * A stored task is in the store before it is in the queue, and its end is in the store before anybody is told of it. A synchronous
 * inference has the same queue, priorities, retries and failover, but lives only as long as its request.
 */

import type { Clock } from "@legacygpu/shared/clock";
import { asLegacyGpuError, fail, fromWireError } from "@legacygpu/shared/errors";
import { SortableIds, type TaskId } from "@legacygpu/shared/ids";
import type { Logger } from "@legacygpu/shared/log";
import type { ModelRef } from "@legacygpu/shared/protocol/messages";
import type { Principal } from "../auth/principal.ts";
import type { Choice } from "../dispatch/choice.ts";
import type { Admission } from "../queue/admission.ts";
import type { Explanation } from "../scheduler/explanation.ts";
import type { Scheduler } from "../scheduler/scheduler.ts";
import type { Document, TaskStore } from "../store/task-store.ts";
import { AttemptJournal } from "./attempt-journal.ts";
import { withinPermission } from "./permission.ts";
import { beginAnew, groupOf, newTask, type TaskRecord, type WebhookEvent } from "./record.ts";
import { orderOf, type Submission } from "./submission.ts";
import { type TaskFilter, TaskLookup } from "./task-lookup.ts";
import { TaskWatch } from "./task-watch.ts";

/** How soon the end of a task is stored again when the disk was full. */
const END_RETRY_MS = 1000;

/** What the service needs of webhooks. */
export interface Notifier {
  /** What must be stored with the event, so that it is told of. */
  deliveriesFor(task: TaskRecord, event: WebhookEvent): readonly Document[];
  /** They are stored. */
  wake(): void;
}

/** What the service needs of daily quotas. */
export interface TaskQuota {
  /** @throws `quota_exceeded`: then nothing was charged. @returns the day that was charged. */
  chargeTasks(owner: { readonly tenant: string }, count: number): number;
  /** They were not stored. */
  refundTasks(owner: { readonly tenant: string }, count: number, day: number): void;
  /** The task has ended, with all of its attempts. */
  taskSettled(task: TaskRecord): void;
}

export interface TaskServiceOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly store: TaskStore;
  readonly scheduler: Scheduler;
  readonly admission: Admission;
  readonly notifier: Notifier;
  /** Absent: nobody's use is counted or limited. */
  readonly quota?: TaskQuota | undefined;
  /** Whether a model can still be run. Absent: none is ever removed. */
  readonly hasModel?: (model: ModelRef) => boolean;
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
  readonly #journal: AttemptJournal;
  /** Stored tasks that have not ended: only these are written when they do. */
  readonly #unstored = new Set<TaskId>();
  /** Tasks with ids of their clients' own that are on their way into the store. */
  readonly #arriving = new Map<TaskId, Promise<TaskRecord>>();
  readonly #lookup: TaskLookup;
  readonly watch = new TaskWatch();

  constructor(options: TaskServiceOptions) {
    const { clock, log, store, scheduler, notifier } = options;
    const { watch } = this;
    this.#options = options;
    const isUnstored = (id: TaskId): boolean => this.#unstored.has(id);
    this.#lookup = new TaskLookup({ clock, store, scheduler, watch, isUnstored });
    this.#journal = new AttemptJournal({
      clock,
      log,
      store,
      onStarted: (task) => notifier.deliveriesFor(task, "started"),
      onSaved: (task) => {
        watch.announce(task);
        if (task.webhook !== undefined) notifier.wake();
      },
    });
  }

  /** Takes up what an earlier start of this gateway accepted and did not end. Called once, before the first worker comes. */
  restore(): void {
    const { scheduler, store, admission, log } = this.#options;
    let count = 0;
    for (const pending of store.unfinished()) {
      admission.restore(pending.tenant, 1, pending.inputBytes);
      scheduler.restore(pending);
      count += 1;
    }
    if (count > 0) log.info({ tasks: count }, "tasks of an earlier start are taken up");
    scheduler.dispatch();
  }

  /**
   * When this has resolved the tasks are in the store (or, relaxed, on their way): all of them or none.
   * @param documents what is stored with them.
   * @throws `requirement_unmet`, `key_queue_full`, `queue_full`, `quota_exceeded`, `store_full`, `store_failed`
   */
  async submit(
    principal: Principal,
    submissions: readonly Submission[],
    documents: (tasks: readonly TaskRecord[]) => readonly Document[] = () => [],
  ): Promise<TaskRecord[]> {
    const { scheduler, store } = this.#options;
    const tasks = submissions.map((submission) => this.#create(principal, submission));
    this.#requireWorkers(tasks.filter((_, index) => submissions[index]?.noWait === true));
    const bytes = tasks.reduce((sum, { inputBytes }) => sum + inputBytes, 0);
    const giveBack = this.#reserve(principal, tasks.length, bytes);
    try {
      await store.insert(tasks, documents(tasks));
    } catch (error) {
      giveBack();
      throw error;
    }
    scheduler.submit(tasks, { isStored: true });
    return tasks;
  }

  /**
   * A task with an id of its client's own: the same request again finds the task that it made.
   * @throws `task_exists` when another request made it; as {@link submit}
   */
  async submitOnce(
    principal: Principal,
    submission: Submission & { readonly id: TaskId; readonly requestHash: string },
  ): Promise<{ task: TaskRecord; isNew: boolean }> {
    const { id, requestHash } = submission;
    const known = (await this.#arriving.get(id)?.catch(() => undefined)) ?? (await this.#lookup.find(id));
    if (known !== undefined) {
      if (known.tenant === principal.tenant && known.requestHash === requestHash)
        return { task: known, isNew: false };
      throw fail("task_exists", `Task ${id} exists and was made from another request.`, { path: "id" });
    }
    // Another request for the same id may have come while this one was looking.
    if (this.#arriving.has(id)) return this.submitOnce(principal, submission);
    const arrival = this.submit(principal, [submission]).then(([task]) => task as TaskRecord);
    this.#arriving.set(id, arrival);
    try {
      return { task: await arrival, isNew: true };
    } finally {
      this.#arriving.delete(id);
    }
  }

  /** @throws `requirement_unmet`, `key_queue_full`, `queue_full`, `quota_exceeded` */
  infer(principal: Principal, submission: Submission): Inference {
    const { scheduler } = this.#options;
    const task = this.#create(principal, submission);
    if (submission.noWait === true) this.#requireWorkers([task]);
    this.#reserve(principal, 1, task.inputBytes);
    this.#unstored.add(task.id);
    const done = new Promise<TaskRecord>((resolve, reject) => {
      const stop = this.watch.watch(task.id, (ended) => {
        stop();
        if (ended.error === undefined) resolve(ended);
        else reject(fromWireError(ended.error));
      });
    });
    scheduler.submit([task], { isStored: false });
    return { done, id: task.id, cancel: (reason) => scheduler.cancel(task.id, reason) };
  }

  /** @throws `task_not_found`, also for tasks of others. */
  get(principal: Principal, id: string): Promise<TaskRecord> {
    return this.#lookup.get(principal, id);
  }

  /** For those who act for the gateway itself. */
  find(id: string): Promise<TaskRecord | undefined> {
    return this.#lookup.find(id as TaskId);
  }

  /** Newest first, without results; admins see everybody's. */
  list(
    principal: Principal,
    filter: TaskFilter,
  ): Promise<{ tasks: TaskRecord[]; nextCursor: string | null }> {
    return this.#lookup.list(principal, filter);
  }

  /** Idempotent: a task that has ended stays as it is. @throws `task_not_found` */
  async cancel(principal: Principal, id: string): Promise<TaskRecord> {
    const task = await this.get(principal, id);
    if (!this.#options.scheduler.cancel(task.id, "Cancelled by its owner.", task)) return task;
    return this.get(principal, id);
  }

  /** Another life for a task that failed or timed out. @throws `task_not_found`, `task_not_retryable`, `model_not_found`, and as {@link submit} */
  async retry(principal: Principal, id: string): Promise<TaskRecord> {
    const { store, scheduler, clock } = this.#options;
    const task = await this.get(principal, id);
    const mayRetry = (task.state === "FAILED" || task.state === "TIMED_OUT") && store.hasInput(task.id);
    if (!mayRetry || this.#arriving.has(task.id)) {
      const why = this.#arriving.has(task.id) ? "is being retried" : `is ${task.state}`;
      throw fail(
        "task_not_retryable",
        `Task ${id} ${why}; only a failed or timed-out task with its input can be retried.`,
        {
          state: task.state,
          dataRemoved: task.dataRemovedAtMs !== undefined,
        },
      );
    }
    this.#assertModel(task);
    const giveBack = this.#reserve(task, 1, task.inputBytes);
    task.output = undefined;
    beginAnew(task, clock.now());
    const reopening = store.reopen(task).then(() => task);
    this.#arriving.set(task.id, reopening);
    try {
      await reopening;
    } catch (error) {
      giveBack();
      throw error;
    } finally {
      this.#arriving.delete(task.id);
    }
    scheduler.submit([task], { isStored: true });
    this.watch.announce(task);
    return task;
  }

  /** It would wait for ever. @throws `model_not_found` */
  #assertModel({ id, model }: TaskRecord): void {
    if (this.#options.hasModel?.(model) ?? true) return;
    const { name, version } = model;
    const message = `Version ${version} of ${name}, which task ${id} is for, was removed; submit the input again for another one.`;
    throw fail("model_not_found", message, { model: name, version });
  }

  /** Forgets input and output now; a task that has not ended is cancelled first. @throws `task_not_found` */
  async removeData(principal: Principal, id: string): Promise<TaskRecord> {
    const { store, clock } = this.#options;
    const task = await this.cancel(principal, id);
    await store.removeData([task.id], clock.now());
    return this.get(principal, id);
  }

  /**
   * Resolves when `isEnough`, asked now and after every change, says so, or after `timeoutMs`: with the task as it is then.
   * @param isEnough default: it has ended.
   */
  wait(task: TaskRecord, timeoutMs: number, isEnough?: (task: TaskRecord) => boolean): Promise<TaskRecord> {
    return this.#lookup.wait(task, timeoutMs, isEnough);
  }

  /** How many tasks of a batch are being run now. */
  runningOf(batchId: string): number {
    return this.#options.scheduler.view.running().filter(({ batch }) => batch?.id === batchId).length;
  }

  explain(id: TaskId): Explanation | undefined {
    return this.#options.scheduler.view.explain(id);
  }

  /** How its worker was chosen, where that is known. */
  choiceOf(id: TaskId): Choice | undefined {
    return this.#options.scheduler.view.choiceOf(id);
  }

  /** For the scheduler: an attempt of a stored task has begun, was accepted, failed or was lost. */
  changed(task: TaskRecord): void {
    this.#journal.note(task);
  }

  /** For the scheduler: the task has reached a final state. */
  settled(task: TaskRecord): void {
    const { admission, quota } = this.#options;
    admission.release(task.tenant, 1, task.inputBytes);
    quota?.taskSettled(task);
    if (this.#unstored.delete(task.id)) {
      this.watch.announce(task);
      return;
    }
    this.#journal.ended(task.id);
    this.#storeEnd(task);
  }

  close(): void {
    this.#journal.close();
  }

  /** Each could be run by a worker that is connected. @throws `requirement_unmet` */
  #requireWorkers(tasks: readonly TaskRecord[]): void {
    const { view } = this.#options.scheduler;
    for (const task of new Map(tasks.map((task) => [groupOf(task), task])).values()) {
      const unmet = view.unmetBy(task);
      if (unmet === undefined) continue;
      throw fail("requirement_unmet", unmet.reason, { requirement: unmet.requirement });
    }
  }

  /** Room in the queue and a share of the quota, or neither. @returns what gives both back. */
  #reserve(owner: { readonly tenant: string }, count: number, bytes: number): () => void {
    const { admission, quota } = this.#options;
    const { tenant } = owner;
    admission.reserve(tenant, count, bytes);
    let day: number | undefined;
    try {
      day = quota?.chargeTasks(owner, count);
    } catch (error) {
      admission.release(tenant, count, bytes);
      throw error;
    }
    return () => {
      admission.release(tenant, count, bytes);
      if (day !== undefined) quota?.refundTasks(owner, count, day);
    };
  }

  /** Nobody is told of an end that is not stored: the task would run again after a restart. */
  #storeEnd(task: TaskRecord): void {
    const { store, clock, log, notifier } = this.#options;
    const documents = task.webhook === undefined ? [] : notifier.deliveriesFor(task, "completed");
    store.finish(task, documents).then(
      () => {
        this.watch.announce(task);
        if (documents.length > 0) notifier.wake();
      },
      (error: unknown) => {
        log.error({ err: error, taskId: task.id }, "the end of a task was not stored");
        if (asLegacyGpuError(error).code === "store_full")
          clock.after(END_RETRY_MS, () => this.#storeEnd(task));
      },
    );
  }

  /** @throws `auth_forbidden` for a model or site that is not the principal's */
  #create(principal: Principal, asked: Submission): TaskRecord {
    const submission = withinPermission(principal, asked);
    const nowMs = this.#options.clock.now();
    const id = submission.id ?? this.#ids.nextTaskId(nowMs);
    const { deadlineMs, input } = submission;
    const deadlineAtMs = deadlineMs === undefined ? undefined : nowMs + deadlineMs;
    return newTask(orderOf(submission, { id, tenant: principal.tenant, nowMs }), input, deadlineAtMs);
  }
}
