/**
 * The states of a task and the moves between them.
 *
 * PENDING    accepted and waiting: queued, or between two attempts
 * RUNNING    an attempt has been sent to a worker
 * COMPLETED  one result is recorded
 * FAILED     an error that another attempt cannot mend, or no attempts left
 * CANCELLED  by its owner
 * TIMED_OUT  its deadline passed, before or after the start; `error.code` tells which
 *
 * The last four are final. A move that the table does not have is a fault in the program, not in the task.
 */

export const TASK_STATES = ["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"] as const;
export type TaskState = (typeof TASK_STATES)[number];

export const TASK_MOVES: Readonly<Record<TaskState, readonly TaskState[]>> = {
  PENDING: ["RUNNING", "FAILED", "CANCELLED", "TIMED_OUT"],
  RUNNING: ["PENDING", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"],
  COMPLETED: [],
  FAILED: [],
  CANCELLED: [],
  TIMED_OUT: [],
};

export function isFinal(state: TaskState): boolean {
  return TASK_MOVES[state].length === 0;
}

export function canMove(from: TaskState, to: TaskState): boolean {
  return TASK_MOVES[from].includes(to);
}

/** Most urgent first; the index is the class number. */
export const PRIORITIES = ["CRITICAL", "HIGH", "NORMAL", "LOW"] as const;
export type Priority = (typeof PRIORITIES)[number];

export const WORKER_STATES = ["HEALTHY", "DEGRADED", "DRAINING", "UNHEALTHY", "GONE"] as const;
export type WorkerState = (typeof WORKER_STATES)[number];

export const STRATEGY_NAMES = ["ROUND_ROBIN", "LEAST_LOADED", "GPU_MATCH", "LATENCY", "ADAPTIVE"] as const;
export type StrategyName = (typeof STRATEGY_NAMES)[number];

/** Why an attempt ended. */
export type AttemptOutcome = "completed" | "failed" | "worker_lost" | "cancelled" | "timed_out";
