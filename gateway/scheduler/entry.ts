/**
 * A task as the scheduler holds it between acceptance and its end.
 *
 * A waiting task is in one of three places:
 *
 * | place    | what it waits for                                                                                |
 * | -------- | ------------------------------------------------------------------------------------------------ |
 * | queued   | a worker with credit                                                                             |
 * | parked   | a time: the wait before a retry, or the lease of the worker that held it when the gateway stopped |
 * | attempt  | the answer of a worker that has it; several may have it at once                                  |
 *
 * A million may wait, so this holds only what the queue needs; the record stays in the store until it is the task's turn.
 */

import type { WireError } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import { PRIORITIES } from "@legacygpu/shared/task";
import type { Flight } from "../dispatch/flight.ts";
import type { DispatchTask } from "../dispatch/ports.ts";
import { QueueItem } from "../queue/task-queue.ts";
import type { Worker } from "../registry/worker.ts";
import { type AttemptRecord, countedAttempts, type TaskRecord } from "../tasks/record.ts";

/** Errors after which the task may be what killed the runner. */
const RUNNER_DEATHS: ReadonlySet<string> = new Set(["runner_crashed", "out_of_memory"]);

export interface Attempt {
  readonly record: AttemptRecord;
  readonly worker: Worker;
  /** Monotonic. */
  readonly sentAtMs: number;
  /** The same attempt as the dispatcher follows it. */
  flight: Flight | undefined;
}

/** Nearly all that wait share it. */
const NO_ATTEMPTS: readonly Attempt[] = Object.freeze([]);

/** The latest attempt that was lost, with its worker; the worker may have it back until somebody else begins the task. */
export interface Orphan {
  readonly record: AttemptRecord;
  readonly lostAtMs: number;
  readonly error: WireError;
}

/** What most tasks never need. */
export interface Trouble {
  readonly triedWorkerIds: Set<string>;
  lastError: WireError | undefined;
  /** Its next attempt spends from the budget of retries. */
  isChargedRetry: boolean;
  orphan: Orphan | undefined;
  /** Where its model failed while it computed: when another worker can do it, those are to blame. */
  suspects: Flight[];
  /** Monotonic; when its first attempt failed. */
  firstFailedAtMs: number | undefined;
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

export class Entry extends QueueItem implements DispatchTask {
  readonly id: TaskId;
  readonly inputBytes: number;
  readonly deadlineAtMs: number | undefined;
  readonly isStored: boolean;
  /** Absent while it waits in a long queue: then it is read from the store when it is needed. */
  task: TaskRecord | undefined;
  /** Monotonic; the latest time that it entered the queue. */
  queuedAtMs = 0;
  /** Who has it, in the order in which it was sent; the first answer wins. */
  live: readonly Attempt[] = NO_ATTEMPTS;
  /** The highest of its attempts; of those of an earlier start of this gateway, of the one that is kept. 0: none. */
  lastToken = 0;
  trouble: Trouble | undefined = undefined;
  /** Name and version; the dispatching fills it in when the task is first offered. */
  model = "";
  flights: Flight[] | undefined = undefined;
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

  /** Undefined while nobody has failed it. */
  get triedWorkerIds(): ReadonlySet<string> | undefined {
    return this.trouble === undefined || this.trouble.triedWorkerIds.size === 0
      ? undefined
      : this.trouble.triedWorkerIds;
  }

  get isLastAttempt(): boolean {
    return this.task !== undefined && countedAttempts(this.task) + 1 >= this.task.maxAttempts;
  }

  /** Not what may have crashed a runner: it would crash two. */
  get mayBeCopied(): boolean {
    return this.task?.mayBeCopied === true && !RUNNER_DEATHS.has(this.trouble?.lastError?.code ?? "");
  }

  get firstFailedAtMs(): number | undefined {
    return this.trouble?.firstFailedAtMs;
  }

  set firstFailedAtMs(atMs: number | undefined) {
    this.needTrouble.firstFailedAtMs = atMs;
  }

  add(attempt: Attempt): void {
    this.live = [...this.live, attempt];
  }

  remove(attempt: Attempt): void {
    this.live = this.live.length > 1 ? this.live.filter((other) => other !== attempt) : NO_ATTEMPTS;
  }

  get needTrouble(): Trouble {
    this.trouble ??= {
      triedWorkerIds: new Set(),
      lastError: undefined,
      isChargedRetry: false,
      orphan: undefined,
      suspects: [],
      firstFailedAtMs: undefined,
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
