/**
 * The port of a balancing strategy: what it costs to give a task to a worker. The cheapest one that can begin the task in time has it.
 *
 * Who is able, who has credit, who is well and when a worker gets free is the dispatcher's business and the same for all of them.
 */

import type { StrategyName } from "@legacygpu/shared/task";

/** What a strategy may know of a worker. */
export interface Candidate {
  readonly id: string;
  readonly slots: number;
  /** Attempts that it holds: running and on the way. */
  readonly inFlight: number;
  /** Of its largest card, or of the machine; undefined: not known. */
  readonly memoryBytes: number | undefined;
  readonly hasCard: boolean;
}

/** What it means for one task to go to one worker. All are milliseconds. */
export interface Offer {
  readonly worker: Candidate;
  readonly rttMs: number;
  /** Of its payload, beyond the round trip. */
  readonly uploadMs: number;
  /** Computing: as this worker is known to run this model. */
  readonly serviceMs: number;
  /** Computing: by the speed of the worker for all models. */
  readonly serviceBySpeedMs: number;
  /** Loading the model, and what follows from the other that has to leave for it; 0: it is there. */
  readonly loadMs: number;
  /** What failures there are expected to cost. */
  readonly failureMs: number;
}

export interface Strategy {
  readonly name: StrategyName;
  /** Whether its prices are times until the answer. Then a busy worker can be worth waiting for, and the time in its queue is added. */
  readonly isTimed: boolean;
  /** Whether it finds things out, and saves time, by copies of tasks. */
  readonly makesCopies: boolean;
  price(offer: Offer): number;
  /** The worker has a task by this strategy. */
  chosen?(worker: Candidate): void;
}
