/** One task with its attempts and its result; `transition` is the only way to change its state. */

import { fail, type WireError } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import type { AttemptTimings, ModelRef, TaskInput, TaskOutput } from "@legacygpu/shared/protocol/messages";
import { type AttemptOutcome, canMove, isFinal, type Priority, type TaskState } from "@legacygpu/shared/task";

export interface AttemptRecord {
  readonly token: number;
  readonly workerId: string;
  readonly site: string;
  readonly startedAtMs: number;
  /** Whether the worker said that it began to run it: attempts lost before that do not count towards `maxAttempts`. */
  wasAccepted: boolean;
  endedAtMs: number | undefined;
  outcome: AttemptOutcome | undefined;
  error: WireError | undefined;
}

export interface TaskTimings {
  readonly onWorker: AttemptTimings;
  readonly queueMs: number;
  /** From sending the attempt to its result, minus the worker's own time. */
  readonly networkMs: number;
}

export interface TaskRecord {
  readonly id: TaskId;
  /** The key that submitted it; others do not see it. */
  readonly ownerKeyId: string;
  readonly model: ModelRef;
  /** Dropped when the task ends. */
  input: TaskInput | undefined;
  readonly outputs: readonly string[] | undefined;
  readonly priority: Priority;
  readonly metadata: Readonly<Record<string, string>>;
  readonly createdAtMs: number;
  readonly deadlineAtMs: number | undefined;
  readonly maxAttempts: number;
  state: TaskState;
  readonly attempts: AttemptRecord[];
  startedAtMs: number | undefined;
  completedAtMs: number | undefined;
  error: WireError | undefined;
  output: TaskOutput | undefined;
  timings: TaskTimings | undefined;
}

export type NewTask = Pick<
  TaskRecord,
  | "id"
  | "ownerKeyId"
  | "model"
  | "outputs"
  | "priority"
  | "metadata"
  | "createdAtMs"
  | "deadlineAtMs"
  | "maxAttempts"
> & { readonly input: TaskInput };

/** Written out field by field: an object made by spreading is several times slower, to make and to use. */
export function newTask(task: NewTask): TaskRecord {
  return {
    id: task.id,
    ownerKeyId: task.ownerKeyId,
    model: task.model,
    input: task.input,
    outputs: task.outputs,
    priority: task.priority,
    metadata: task.metadata,
    createdAtMs: task.createdAtMs,
    deadlineAtMs: task.deadlineAtMs,
    maxAttempts: task.maxAttempts,
    state: "PENDING",
    attempts: [],
    startedAtMs: undefined,
    completedAtMs: undefined,
    error: undefined,
    output: undefined,
    timings: undefined,
  };
}

/** @throws `internal` when the table of moves does not have this one: a fault in the program. */
export function transition(task: TaskRecord, to: TaskState, nowMs: number): void {
  if (!canMove(task.state, to))
    throw fail("internal", `Task ${task.id} cannot go from ${task.state} to ${to}.`);
  task.state = to;
  if (to === "RUNNING") task.startedAtMs ??= nowMs;
  if (isFinal(to)) {
    task.completedAtMs = nowMs;
    task.input = undefined;
  }
}

/** Attempts that were really tried: a task that was lost before its worker began it has lost nothing. */
export function countedAttempts(task: TaskRecord): number {
  return task.attempts.filter((attempt) => attempt.wasAccepted || attempt.outcome === "failed").length;
}

/** The group that a task waits in: tasks of one model can run on the same workers. */
export function modelKey({ name, version }: { name: string; version: string }): string {
  return `${name}@${version}`;
}
