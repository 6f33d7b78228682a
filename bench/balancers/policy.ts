/** Who decides in a simulation which worker gets which task, and when. */

import type { Answer, Attempt, SimTask } from "./attempt.ts";
import type { ScriptEvent } from "./scenario.ts";
import type { SimWorker } from "./worker.ts";

export interface Policy {
  joined(worker: SimWorker): void;
  /** Its attempts are lost; what has to be tried again comes back to the queue afterwards. */
  left(worker: SimWorker): void;
  pinged(worker: SimWorker): void;
  /** A sign of life. */
  heard(worker: SimWorker): void;
  /** A sample, from a ping, a handshake or an answer. */
  roundTrip(worker: SimWorker, rttMs: number): void;
  /** A task enters the queue; `isRetry`: it has been taken from it before. */
  queued(task: SimTask, isRetry: boolean): void;
  /** Of every attempt that the worker began, also when its task has ended meanwhile. */
  answered(attempt: Attempt, answer: Answer): void;
  /** The worker has dropped it, as it was told to. */
  withdrawn(attempt: Attempt): void;
  /** Another attempt has ended its task. */
  superseded(attempt: Attempt): void;
  scripted(event: ScriptEvent): void;
  /** All of an event has been told: now tasks can be sent. */
  decide(): void;
  close(): void;
}
