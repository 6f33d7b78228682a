/**
 * The states of a task and the moves between them.
 *
 * PENDING    accepted and waiting: queued, sent and not begun, or between two attempts
 * RUNNING    a worker has begun to run it
 * COMPLETED  one result is recorded
 * FAILED     an error that another attempt cannot mend, or no attempts left
 * CANCELLED  by its owner
 * TIMED_OUT  its deadline passed, before or after the start; `error.code` tells which
 *
 * The last four are final: nothing leaves them by itself. FAILED and TIMED_OUT go back to PENDING when their owner asks for another try. A
 * move that the table does not have is a fault in the program, not in the task.
 */

export const TASK_STATES = ["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"] as const;
export type TaskState = (typeof TASK_STATES)[number];

export const TASK_MOVES: Readonly<Record<TaskState, readonly TaskState[]>> = {
  PENDING: ["RUNNING", "FAILED", "CANCELLED", "TIMED_OUT"],
  RUNNING: ["PENDING", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"],
  COMPLETED: [],
  FAILED: ["PENDING"],
  CANCELLED: [],
  TIMED_OUT: ["PENDING"],
};

export function isFinal(state: TaskState): boolean {
  return state !== "PENDING" && state !== "RUNNING";
}

export function canMove(from: TaskState, to: TaskState): boolean {
  return TASK_MOVES[from].includes(to);
}

/** Why an attempt may be made again: the codes of errors that are the system's fault, never the input's or the model's. */
export const RETRY_CAUSES = [
  "worker_lost",
  "runner_crashed",
  "out_of_memory",
  "model_load_failed",
  "transfer_failed",
  "model_run_failed",
] as const;
export type RetryCause = (typeof RETRY_CAUSES)[number];

/** `flushed`: on disk before it is acknowledged. `relaxed`: acknowledged at once, on disk within about a second. */
export const DURABILITIES = ["flushed", "relaxed"] as const;
export type Durability = (typeof DURABILITIES)[number];

/** Most urgent first; the index is the class number. */
export const PRIORITIES = ["CRITICAL", "HIGH", "NORMAL", "LOW"] as const;
export type Priority = (typeof PRIORITIES)[number];

export const WORKER_STATES = ["HEALTHY", "DEGRADED", "DRAINING", "UNHEALTHY", "GONE"] as const;
export type WorkerState = (typeof WORKER_STATES)[number];

export const STRATEGY_NAMES = ["ROUND_ROBIN", "LEAST_LOADED", "GPU_MATCH", "LATENCY", "ADAPTIVE"] as const;
export type StrategyName = (typeof STRATEGY_NAMES)[number];

/** Why an attempt ended. `superseded`: another attempt of the task was answered first. */
export const ATTEMPT_OUTCOMES = [
  "completed",
  "failed",
  "worker_lost",
  "cancelled",
  "timed_out",
  "superseded",
] as const;
export type AttemptOutcome = (typeof ATTEMPT_OUTCOMES)[number];

/** Why a copy of a task is sent while another worker has it. */
export const COPY_PURPOSES = ["hedge", "rescue", "probe", "exploration", "warm_up"] as const;
export type CopyPurpose = (typeof COPY_PURPOSES)[number];
