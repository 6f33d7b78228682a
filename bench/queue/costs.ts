/** What is done to a queue, and what that costs: the words that the bench and its processes share. */

/** A task comes and the oldest one ends; the same, but a worker dies with it on the way; a waiting task is cancelled. */
export const OPERATIONS = ["cycle", "requeue", "cancel"] as const;
export type Operation = (typeof OPERATIONS)[number];

/** For each operation. */
export interface Cost {
  readonly elapsedUs: number;
  /** Of all threads of the process: without what the disk takes. */
  readonly cpuUs: number;
}

/** Of every task: a tensor of so many bytes. */
export const PAYLOAD_BYTES = 64;

export interface CostOrder {
  readonly operation: Operation;
  readonly count: number;
}
