/**
 * Where accepted tasks live. Consumers see only these ports.
 *
 * The contract: when a promise has resolved, what was written survives whatever the implementation promises to survive, and reads see it at
 * once; everything that goes into one call is written together or not at all. The store holds tasks as they were written last: how an
 * unfinished task stands at this moment is known by those who work on it. Finished tasks are forgotten, oldest first, when they are too
 * many or too old, and results when they have expired. `test/store` holds every implementation to this.
 */

import type { TaskId } from "@legacygpu/shared/ids";
import type { TaskState } from "@legacygpu/shared/task";
import type { TaskRecord } from "../tasks/record.ts";

/** Something small that others keep beside the tasks; its form is known to whoever wrote it. */
export interface Document {
  readonly collection: string;
  /** Documents of a collection are listed in the order of their ids (UTF-8 bytes). No NUL. */
  readonly id: string;
  /** What msgpack can carry. */
  readonly value: unknown;
  /** When it may be forgotten; absent: never. */
  readonly expiresAtMs?: number | undefined;
}

export interface DocumentStore {
  /** Replaces what has the same collection and id. @throws `store_full`, `store_failed` */
  put(documents: readonly Document[]): Promise<void>;
  /** What is not there is no error. @throws `store_failed` */
  remove(collection: string, ids: readonly string[]): Promise<void>;
  /** Unknown until its owner's schema has parsed it. @throws `store_corrupt` */
  get(collection: string, id: string): unknown;
  /** @param range `after` and `before` are exclusive. @throws `store_corrupt` */
  list(collection: string, range: DocumentRange): { readonly id: string; readonly value: unknown }[];
}

export interface DocumentRange {
  readonly after?: string | undefined;
  readonly before?: string | undefined;
  readonly order?: "rising" | "falling";
  readonly limit: number;
}

/** An unfinished task as its place in the queue needs it: a million of them must fit into the memory. */
export interface PendingTask {
  readonly id: TaskId;
  readonly tenant: string;
  /** Index into PRIORITIES. */
  readonly classIndex: number;
  readonly group: string;
  readonly inputBytes: number;
  readonly deadlineAtMs: number | undefined;
  /** Of the attempt that is kept for its worker, or else of the latest that was stored; 0: none. */
  readonly lastToken: number;
  /** Who holds that attempt; undefined when all have ended. */
  readonly heldBy: string | undefined;
}

export interface TaskQuery {
  /** Absent: of every owner. */
  readonly tenant?: string | undefined;
  /**
   * PENDING finds every task that is stored as unfinished, unless `live` says otherwise. A final state finds only tasks that are stored as
   * ended, PENDING and RUNNING only the others.
   */
  readonly state?: TaskState | undefined;
  readonly model?: string | undefined;
  /** Tasks with an attempt at this site. */
  readonly site?: string | undefined;
  readonly tag?: string | undefined;
  readonly batchId?: string | undefined;
  readonly isDeadLetter?: true | undefined;
  readonly limit: number;
  /** Only tasks older than this one. */
  readonly before?: string | undefined;
}

/** Asked for every record before the query's filter sees it: how the task stands now, when somebody works on it. */
export type Live = (id: TaskId) => TaskRecord | undefined;

export interface TaskStore {
  readonly documents: DocumentStore;
  /**
   * New tasks, with documents that belong to them. The tasks of one call are all `flushed` or all `relaxed`; for relaxed ones the promise does not
   * wait for the disk.
   * @throws `store_full`, `store_failed`: then nothing was stored.
   */
  insert(tasks: readonly TaskRecord[], documents?: readonly Document[]): Promise<void>;
  /** The attempts of an unfinished task, as they are now. When it has ended meanwhile nothing is stored. @throws `store_full`, `store_failed` */
  saveAttempts(task: TaskRecord, documents?: readonly Document[]): Promise<void>;
  /**
   * The end of an unfinished task: its record, its output, and whether its input is still needed. When it has ended before nothing is stored.
   * @throws `store_full`, `store_failed`
   */
  finish(task: TaskRecord, documents?: readonly Document[]): Promise<void>;
  /** A finished task that is unfinished again, see `beginAnew`. @throws `task_not_retryable` when its input is gone, `store_full`, `store_failed` */
  reopen(task: TaskRecord): Promise<void>;
  /** Forgets input and output of finished tasks now, and that they are dead letters. @throws `store_failed` */
  removeData(ids: readonly TaskId[], nowMs: number): Promise<void>;
  /** An unfinished task with its input, to be run; undefined when it is not (any more) unfinished. @throws `store_corrupt` */
  load(id: TaskId): TaskRecord | undefined;
  /** The same without its input, for those who do not run it. @throws `store_corrupt` */
  loadRecord(id: TaskId): TaskRecord | undefined;
  /** Input of a task that has ended. @throws `store_corrupt` */
  hasInput(id: TaskId): boolean;
  /** With its output, without its input. Waits for an end that is being written. @throws `store_corrupt` */
  get(id: TaskId): Promise<TaskRecord | undefined>;
  /** Newest first, without inputs and outputs; what `live` answers is given back as it is. @throws `store_corrupt` */
  list(query: TaskQuery, live: Live): Promise<TaskRecord[]>;
  /** Every task whose end is not recorded, oldest first: what a gateway goes on with after a restart. */
  unfinished(): Iterable<PendingTask>;
  close(): Promise<void>;
}
