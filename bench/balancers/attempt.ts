/** A task in the simulation, and its attempts. */

import type { PlannedTask } from "./arrivals.ts";
import type { SimWorker } from "./worker.ts";

/** `copy`: beside another attempt of the same task. */
export type AttemptKind = "first" | "retry" | "copy";

export class SimTask {
  readonly index: number;
  readonly plan: PlannedTask;
  /** `waiting` covers the queue and the workers: until its client has an answer or an error. */
  state: "waiting" | "done" | "failed" = "waiting";
  endedAtMs = Number.NaN;
  /** How often it has ended; every task should once. */
  endings = 0;
  failures = 0;
  readonly failedOn = new Set<number>();
  readonly attempts: Attempt[] = [];

  constructor(index: number, plan: PlannedTask) {
    this.index = index;
    this.plan = plan;
  }

  end(state: "done" | "failed", atMs: number): void {
    this.state = state;
    this.endedAtMs = atMs;
    this.endings += 1;
  }
}

export class Attempt {
  readonly task: SimTask;
  readonly worker: SimWorker;
  readonly kind: AttemptKind;
  readonly sentAtMs: number;
  /** At the worker; undefined while it is on its way. */
  arrivedAtMs: number | undefined = undefined;
  /** Its connection is gone: what it answers is not heard. */
  isLost = false;

  constructor(task: SimTask, worker: SimWorker, kind: AttemptKind, sentAtMs: number) {
    this.task = task;
    this.worker = worker;
    this.kind = kind;
    this.sentAtMs = sentAtMs;
  }
}

/** What a worker says of an attempt. Durations are its own. */
export interface Answer {
  readonly isOk: boolean;
  readonly queuedMs: number;
  readonly executeMs: number;
  readonly loadMs: number;
  readonly batchSize: number;
  readonly concurrency: number | undefined;
  /** Models in its memory, least recently used first; undefined: all. */
  readonly residents: readonly number[] | undefined;
}
