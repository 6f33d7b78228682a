/**
 * What the dispatcher is told and what it asks for.
 *
 * It is a pure module: time, randomness and everything that leaves it come in here, so that the same code runs in the gateway and in a
 * simulation. All times are milliseconds of one monotonic clock; all durations that a worker reports were measured there.
 */

import type { Clock, Random } from "@legacygpu/shared/clock";
import type { CopyPurpose } from "@legacygpu/shared/task";
import type { Strategy } from "../balancers/strategy.ts";
import type { FleetWorker } from "./fleet-worker.ts";
import type { Flight } from "./flight.ts";

/** The network between the gateway and one worker, as it is measured. */
export interface Path {
  /** Undefined before the first sample of its site. */
  readonly rttMs: number | undefined;
  /** Mean deviation of the round-trip time. */
  readonly deviationMs: number;
  /** How long so many bytes take on their way to the worker, beyond the round trip; 0 while no bandwidth is known. */
  uploadMs(bytes: number): number;
}

/** A worker, as far as it never changes while it is connected. */
export interface WorkerFacts {
  readonly id: string;
  readonly site: string;
  /** Runs at a time. */
  readonly slots: number;
  /** Workers of one class are expected to be about as fast as each other: for instance the name of the card. */
  readonly hardwareClass: string;
  /** Workers with equal texts meet the same requirements. Whoever changes it calls {@link Dispatcher.changed}. */
  readonly capability: string;
  readonly path: Path;
  /** Of its largest card, or of the machine when it has none; undefined: not known. */
  readonly memoryBytes?: number | undefined;
  readonly hasCard?: boolean | undefined;
  /** False while nothing more should be put on its link; whoever changes it calls {@link Dispatcher.changed}. */
  readonly canSend: boolean;
  /** How many models fit its memory at a time, the least recently used one leaving; undefined: all. */
  readonly modelCapacity?: number | undefined;
  /** Of how many waiting tasks of a model it makes one run, at most; 1: none. */
  maxBatch(model: string): number;
}

/** The time of a smaller input on the line is part of the round trip. */
export const SMALL_INPUT_BYTES = 8 * 1024;

/** A task, as the dispatcher looks at it. */
export interface DispatchTask {
  /** Tasks of one group want the same model of the same workers. */
  readonly group: string;
  /** Name and version. */
  readonly model: string;
  readonly inputBytes: number;
  /** Workers that have failed it: it goes elsewhere as long as there is anywhere else. */
  readonly triedWorkerIds: ReadonlySet<string> | undefined;
  /** When this attempt fails, so does the task. */
  readonly isLastAttempt: boolean;
  /** Whether a second copy may run at the same time elsewhere. */
  readonly mayBeCopied: boolean;
  /** When, at the worker, the first of its attempts failed; kept by the dispatcher. */
  firstFailedAtMs: number | undefined;
  /** Its live attempts, in the order in which they were sent. Kept by the dispatcher. */
  flights: Flight[] | undefined;
}

/**
 * Why an attempt is made beside another one of the same task:
 *
 * | purpose     | because                                                                              |
 * | ----------- | ------------------------------------------------------------------------------------ |
 * | hedge       | the answer is late                                                                   |
 * | rescue      | its worker has fallen silent                                                         |
 * | probe       | a worker that was ejected may have become well                                       |
 * | exploration | nobody knows how fast the worker is now                                              |
 * | warm_up     | a worker with room in its memory is to load the model before a client has to wait    |
 */
export type { CopyPurpose };

/** How an attempt went at the worker. */
export interface Report {
  readonly isOk: boolean;
  /** Waiting at the worker for a free slot. */
  readonly queuedMs: number;
  /** Computing, without loading the model; of a batch, the time of the whole run. */
  readonly executeMs: number;
  /** Loading the model first; 0: it was there. */
  readonly loadMs: number;
  /** Tasks that ran as one. */
  readonly batchSize: number;
  /** Of its output; undefined: it has none to speak of. */
  readonly outputBytes?: number | undefined;
}

export interface DispatcherOptions {
  /** Only its monotonic time, and timers. */
  readonly clock: Clock;
  readonly random: Random;
  /** Which strategy decides about a model. */
  readonly strategyFor: (model: string) => Strategy;
  /** Whether the worker meets what tasks of the group require. Equal for workers of equal capability. */
  readonly isAble: (worker: FleetWorker, task: DispatchTask) => boolean;
  /** The only workers that may have the model; undefined: all that are able. */
  readonly replicasOf?: ((model: string) => ReadonlySet<string> | undefined) | undefined;
  /** How many tasks of a group wait. */
  readonly waitingIn: (group: string) => number;
  /**
   * Sends a copy of a task that a worker has already. It calls {@link Dispatcher.send} itself.
   * @returns false when that cannot be done now.
   */
  readonly copy: (task: DispatchTask, worker: FleetWorker, purpose: CopyPurpose) => boolean;
  /** Something may have become possible: whoever holds the queue begins a round. */
  readonly wake: () => void;
  /** A worker is spared from now on, or trusted again. */
  readonly onHealth?: ((worker: FleetWorker, isTrusted: boolean, forMs: number) => void) | undefined;
}
