/**
 * How an attempt ends: what its record says of it, and what its worker is told.
 *
 * | it                                    | record                                     | worker                                                  |
 * | ------------------------------------- | ------------------------------------------ | ------------------------------------------------------- |
 * | was answered                          | the outcome                                | has room again                                          |
 * | is not wanted any more                | the outcome                                | is told to drop it, and has room again                  |
 * | is superseded by another one's answer | superseded                                 | is told, and is busy until it says that it is done      |
 * | is lost with its worker, another lives | worker_lost                               | cannot be told                                          |
 * | the same, and it is the last          | open: an orphan, until somebody begins the task | may have it back                                   |
 */

import type { Clock } from "@legacygpu/shared/clock";
import { fail, toWireError, type WireError } from "@legacygpu/shared/errors";
import type { AttemptTimings } from "@legacygpu/shared/protocol/messages";
import type { AttemptOutcome } from "@legacygpu/shared/task";
import type { Worker } from "../registry/worker.ts";
import type { AttemptTable } from "./attempt-table.ts";
import type { Dispatching } from "./dispatching.ts";
import type { Attempt, Entry } from "./entry.ts";

/** For those who only look. */
export interface AttemptEvents {
  /** Another attempt was answered first; {@link onReleased} follows when the worker is done with it. */
  readonly onSuperseded?: ((worker: Worker, attempt: Attempt) => void) | undefined;
  /** @param timings when the attempt ran to its end all the same; undefined: it did not, or nobody knows. */
  readonly onReleased?:
    | ((worker: Worker, attempt: Attempt, timings: AttemptTimings | undefined) => void)
    | undefined;
}

/** Who is told what becomes of an attempt at its worker. */
export type FlightControl = Pick<Dispatching, "completed" | "superseded" | "released">;

export class AttemptEnds {
  readonly #clock: Clock;
  readonly #attempts: AttemptTable;
  readonly #control: FlightControl;
  readonly #events: AttemptEvents;

  constructor(clock: Clock, attempts: AttemptTable, control: FlightControl, events: AttemptEvents) {
    this.#clock = clock;
    this.#attempts = attempts;
    this.#control = control;
    this.#events = events;
  }

  /** Its worker has answered. */
  answered(entry: Entry, attempt: Attempt, outcome: AttemptOutcome, error?: WireError): void {
    this.#attempts.release(entry, attempt);
    this.#write(attempt, outcome, error);
  }

  /** Ends all of the task's attempts from our side. */
  withdraw(entry: Entry, outcome: AttemptOutcome, reason: string): void {
    for (const attempt of entry.live) {
      const { token } = attempt.record;
      attempt.worker.link?.send({ type: "cancel", taskId: entry.id, token, reason });
      this.answered(entry, attempt, outcome);
      if (attempt.flight !== undefined) this.#control.released(attempt.flight);
    }
  }

  /** Another attempt of the task was answered: nobody waits for these any more. */
  supersede(entry: Entry): void {
    for (const attempt of entry.live) {
      const { worker, record } = attempt;
      this.#attempts.supersede(entry, attempt);
      this.#write(attempt, "superseded");
      if (attempt.flight !== undefined) this.#control.superseded(attempt.flight);
      this.#events.onSuperseded?.(worker, attempt);
      worker.link?.send({
        type: "cancel",
        taskId: entry.id,
        token: record.token,
        reason: "another attempt was answered first",
        isSuperseded: true,
      });
      // Nothing will be heard of it.
      if (worker.link === undefined || worker.hello.releases !== true) this.letGo(worker, record.token);
    }
  }

  /** The worker is done with a superseded attempt. @returns false when it has none with this token. */
  letGo(worker: Worker, token: number, timings?: AttemptTimings): boolean {
    const attempt = this.#attempts.letGo(worker, token);
    if (attempt === undefined) return false;
    this.#events.onReleased?.(worker, attempt, timings);
    const { flight } = attempt;
    if (flight === undefined) return true;
    if (timings === undefined) this.#control.released(flight);
    else this.#control.completed(flight, timings);
    return true;
  }

  /** Its worker is lost. @returns with what cause */
  lost(entry: Entry, attempt: Attempt, cause: string): WireError {
    const { worker, record } = attempt;
    const error = toWireError(fail("worker_lost", `Worker ${worker.id} was lost: ${cause}.`));
    this.#attempts.release(entry, attempt);
    if (attempt.flight !== undefined) this.#control.released(attempt.flight);
    if (entry.live.length > 0) this.#write(attempt, "worker_lost", error);
    else entry.needTrouble.orphan = { record, lostAtMs: this.#clock.now(), error };
    return error;
  }

  /** Nobody can have the lost attempt back any more. */
  closeOrphan({ trouble }: Entry): void {
    if (trouble?.orphan === undefined) return;
    const { record, lostAtMs, error } = trouble.orphan;
    trouble.orphan = undefined;
    record.endedAtMs = lostAtMs;
    record.outcome = "worker_lost";
    record.error = error;
  }

  #write({ record }: Attempt, outcome: AttemptOutcome, error?: WireError): void {
    record.endedAtMs = this.#clock.now();
    record.outcome = outcome;
    record.error = error;
  }
}
