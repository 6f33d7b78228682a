/**
 * A task as the scheduler holds it between acceptance and its end.
 *
 * A waiting task is in one of three places:
 *
 * | place    | what it waits for                                                                                |
 * | -------- | ------------------------------------------------------------------------------------------------ |
 * | queued   | a worker with credit                                                                             |
 * | parked   | a time: the wait before a retry, or the lease of the worker that held it when the gateway stopped |
 * | attempt  | the answer of the worker that has it                                                             |
 *
 * A million may wait, so this holds only what the queue needs; the record stays in the store until it is the task's turn.
 */

import type { WireError } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import { PRIORITIES } from "@legacygpu/shared/task";
import { QueueItem } from "../queue/task-queue.ts";
import type { Worker } from "../registry/worker.ts";
import type { AttemptRecord, TaskRecord } from "../tasks/record.ts";

export interface Attempt {
  readonly record: AttemptRecord;
  readonly worker: Worker;
  /** Of the worker's load. */
  readonly share: number;
  /** Monotonic. */
  readonly sentAtMs: number;
}

/** An attempt whose worker was lost; the worker may have it back until somebody else begins the task. */
export interface Orphan {
  readonly record: AttemptRecord;
  readonly lostAtMs: number;
  readonly error: WireError;
}

/** What most tasks never need. */
export interface Trouble {
  readonly triedWorkerIds: Set<string>;
  lastError: WireError | undefined;
  /** A worker with more memory than this is needed. */
  memoryBytesOver: number;
  /** Its next attempt spends from the budget of retries. */
  isChargedRetry: boolean;
  orphan: Orphan | undefined;
}

export interface EntryFacts {
  readonly id: TaskId;
  readonly tenant: string;
  readonly classIndex: number;
  readonly group: string;
  readonly inputBytes: number;
  readonly deadlineAtMs: number | undefined;
}

/** What an earlier start of the gateway left behind. */
export interface RestoredTask extends EntryFacts {
  /** Of the latest attempt that was stored; 0: none. */
  readonly lastToken: number;
  /** Who holds that attempt, when it had not ended. */
  readonly heldBy: string | undefined;
}

export class Entry extends QueueItem {
  readonly id: TaskId;
  readonly inputBytes: number;
  readonly deadlineAtMs: number | undefined;
  readonly isStored: boolean;
  /** Absent while it waits in a long queue: then it is read from the store when it is needed. */
  task: TaskRecord | undefined;
  /** Monotonic; the latest time that it entered the queue. */
  queuedAtMs = 0;
  attempt: Attempt | undefined = undefined;
  /** Of the latest attempt, also of an earlier start of this gateway; 0: none. */
  lastToken = 0;
  trouble: Trouble | undefined = undefined;
  /** Who held it when the gateway stopped. */
  heldBy: string | undefined = undefined;
  deadlineSlot = -1;
  parkingSlot = -1;

  constructor(facts: EntryFacts, task: TaskRecord | undefined, isStored: boolean) {
    super(facts.classIndex, facts.tenant, facts.group);
    this.id = facts.id;
    this.inputBytes = facts.inputBytes;
    this.deadlineAtMs = facts.deadlineAtMs;
    this.task = task;
    this.isStored = isStored;
  }

  get needTrouble(): Trouble {
    this.trouble ??= {
      triedWorkerIds: new Set(),
      lastError: undefined,
      memoryBytesOver: 0,
      isChargedRetry: false,
      orphan: undefined,
    };
    return this.trouble;
  }
}

export function factsOf(task: TaskRecord, group: string): EntryFacts {
  return {
    id: task.id,
    tenant: task.tenant,
    classIndex: PRIORITIES.indexOf(task.priority),
    group,
    inputBytes: task.inputBytes,
    deadlineAtMs: task.deadlineAtMs,
  };
}
