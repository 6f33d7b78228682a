/**
 * Who holds which attempt: the fencing tokens.
 *
 * A token is given to one attempt and never again; it rises with every attempt, across restarts.
 *
 * | a token is | from → until                                                               | its worker                                      |
 * | ---------- | -------------------------------------------------------------------------- | ----------------------------------------------- |
 * | live       | the attempt is sent → its answer, its loss, its withdrawal, or superseded  | is busy with it                                 |
 * | superseded | another attempt is answered → the worker says that it is done, or is lost  | is busy with it, for nobody                     |
 * | claimable  | the last attempt of a task is lost with its worker → another one is begun  | may have it back, when it returns; then it is live |
 * | dead       | afterwards                                                                 | has nothing to do with it                       |
 *
 * Only an answer with a live token changes anything about a task.
 */

import type { Clock } from "@legacygpu/shared/clock";
import type { CopyPurpose } from "@legacygpu/shared/task";
import type { Worker } from "../registry/worker.ts";
import type { AttemptRecord, TaskRecord } from "../tasks/record.ts";
import type { Attempt, Entry } from "./entry.ts";

/** A live attempt with its task. */
export interface Held {
  readonly entry: Entry;
  readonly attempt: Attempt;
}

export class AttemptTable {
  readonly #clock: Clock;
  /** Every token of this start is above it, every token of earlier starts is not. */
  readonly #firstToken: number;
  readonly #live = new Map<number, Held>();
  readonly #superseded = new Map<number, Attempt>();
  #lastToken: number;

  constructor(clock: Clock, firstToken: number) {
    this.#clock = clock;
    this.#firstToken = firstToken;
    this.#lastToken = firstToken;
  }

  /** Those that are live. */
  get size(): number {
    return this.#live.size;
  }

  /** How many are superseded and still keep their worker busy. */
  get supersededCount(): number {
    return this.#superseded.size;
  }

  all(): Iterable<Held> {
    return this.#live.values();
  }

  /** @param purpose of a copy beside another attempt */
  begin(entry: Entry, task: TaskRecord, worker: Worker, purpose?: CopyPurpose): Attempt {
    this.#lastToken += 1;
    const record = newAttempt(this.#lastToken, worker, this.#clock.now(), purpose);
    task.attempts.push(record);
    return this.#hold(entry, worker, record);
  }

  /** The live attempt that has this token and this worker. */
  find(worker: Worker, token: number): Held | undefined {
    const held = this.#live.get(token);
    return held?.attempt.worker === worker ? held : undefined;
  }

  /** Whether the worker is busy with this attempt for nobody. */
  isSuperseded(worker: Worker, token: number): boolean {
    return this.#superseded.get(token)?.worker === worker;
  }

  /** Whether `worker` may have the attempt back that it says it holds, as far as can be told without its record. */
  isClaimable(entry: Entry, worker: Worker, token: number): boolean {
    if (entry.live.length > 0) return false;
    const orphan = entry.trouble?.orphan;
    if (orphan !== undefined && orphan.record.token === token) return orphan.record.workerId === worker.id;
    if (entry.heldBy !== undefined && entry.heldBy !== worker.id) return false;
    if (token < entry.lastToken) return false;
    // A token above the latest one that was stored was given out just before a crash of the gateway.
    return token === entry.lastToken || token <= this.#firstToken;
  }

  /** After {@link isClaimable}. @returns undefined when the record knows that it has ended. */
  claim(entry: Entry, task: TaskRecord, worker: Worker, token: number): Attempt | undefined {
    const known = task.attempts.find((attempt) => attempt.token === token);
    if (known?.endedAtMs !== undefined) return undefined;
    const record = known ?? newAttempt(token, worker, this.#clock.now());
    if (known === undefined) task.attempts.push(record);
    return this.#hold(entry, worker, record);
  }

  /** The token is dead from now on, or waits to be claimed. */
  release(entry: Entry, attempt: Attempt): void {
    this.#forget(entry, attempt);
    attempt.worker.tokens.delete(attempt.record.token);
  }

  /** The task has ended, and the worker is still busy with it. */
  supersede(entry: Entry, attempt: Attempt): void {
    this.#forget(entry, attempt);
    this.#superseded.set(attempt.record.token, attempt);
  }

  /** The worker is done with a superseded attempt. @returns undefined when it has none with this token. */
  letGo(worker: Worker, token: number): Attempt | undefined {
    const attempt = this.#superseded.get(token);
    if (attempt?.worker !== worker) return undefined;
    this.#superseded.delete(token);
    worker.tokens.delete(token);
    return attempt;
  }

  clear(): void {
    this.#live.clear();
    this.#superseded.clear();
  }

  #hold(entry: Entry, worker: Worker, record: AttemptRecord): Attempt {
    worker.tokens.add(record.token);
    const attempt: Attempt = {
      record,
      worker,
      sentAtMs: this.#clock.monotonic(),
      flight: undefined,
    };
    entry.add(attempt);
    entry.lastToken = Math.max(entry.lastToken, record.token);
    this.#live.set(record.token, { entry, attempt });
    return attempt;
  }

  #forget(entry: Entry, attempt: Attempt): void {
    entry.remove(attempt);
    this.#live.delete(attempt.record.token);
  }
}

function newAttempt(token: number, worker: Worker, nowMs: number, purpose?: CopyPurpose): AttemptRecord {
  const record: AttemptRecord = {
    token,
    workerId: worker.id,
    site: worker.hello.site,
    startedAtMs: nowMs,
    acceptedAtMs: undefined,
    endedAtMs: undefined,
    outcome: undefined,
    error: undefined,
  };
  return purpose === undefined ? record : { ...record, purpose };
}
