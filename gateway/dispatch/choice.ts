/** How the worker of a task was chosen: for the person who asks why it went where it went. */

import type { StrategyName } from "@legacygpu/shared/task";

/** Of what a prediction consists. All are milliseconds. */
export interface ChoiceParts {
  readonly rttMs: number;
  /** Until the worker has a free slot. */
  readonly waitMs: number;
  readonly serviceMs: number;
  /** Loading the model; 0: it is there. */
  readonly loadMs: number;
  /** Of the input, beyond the round trip. */
  readonly transferMs: number;
}

export interface ConsideredWorker {
  readonly workerId: string;
  readonly site: string;
  /** Why it was chosen or not, in a few words. */
  readonly verdict: string;
  /** Until the answer; undefined where the worker cannot have the task at all. */
  readonly predictedMs: number | undefined;
  readonly parts: ChoiceParts | undefined;
}

export interface Choice {
  readonly strategy: StrategyName;
  /** Wall clock. */
  readonly decidedAtMs: number;
  /** Undefined: it waits. */
  readonly chosenWorkerId: string | undefined;
  readonly candidates: readonly ConsideredWorker[];
}
