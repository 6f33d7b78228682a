/**
 * Who holds which attempt: the fencing tokens.
 *
 * A token is given to one attempt and never again; it rises with every attempt, across restarts. It is *live* from the moment the attempt is
 * sent until its answer, its loss or its withdrawal. A message with any other token changes nothing. An attempt that was lost with
 * its worker leaves its task claimable: the worker that comes back has it again, with the same token, unless another attempt
 * was begun meanwhile.
 */

import type { Clock } from "@legacygpu/shared/clock";
import type { Worker } from "../registry/worker.ts";
import type { AttemptRecord, TaskRecord } from "../tasks/record.ts";
import type { Attempt, Entry } from "./entry.ts";

export class AttemptTable {
  readonly #clock: Clock;
  /** Every token of this start is above it, every token of earlier starts is not. */
  readonly #firstToken: number;
  readonly #live = new Map<number, Entry>();
  #lastToken: number;

  constructor(clock: Clock, firstToken: number) {
    this.#clock = clock;
    this.#firstToken = firstToken;
    this.#lastToken = firstToken;
  }

  get size(): number {
    return this.#live.size;
  }

  /** The entries whose attempts are live. */
  entries(): Iterable<Entry> {
    return this.#live.values();
  }

  begin(entry: Entry, task: TaskRecord, worker: Worker): Attempt {
    this.#lastToken += 1;
    const record = newAttempt(this.#lastToken, worker, this.#clock.now());
    task.attempts.push(record);
    return this.#hold(entry, task, worker, record);
  }

  /** The entry whose live attempt has this token and this worker. */
  find(worker: Worker, token: number): Entry | undefined {
    const entry = this.#live.get(token);
    return entry?.attempt?.worker === worker ? entry : undefined;
  }

  /** Whether `worker` may have the attempt back that it says it holds. */
  isClaimable(entry: Entry, worker: Worker, token: number): boolean {
    if (entry.attempt !== undefined || token < entry.lastToken) return false;
    // A token above the latest one that was stored was given out just before a crash of the gateway.
    if (token > entry.lastToken && token > this.#firstToken) return false;
    const orphan = entry.trouble?.orphan;
    return orphan === undefined || token !== orphan.record.token || orphan.record.workerId === worker.id;
  }

  /** After {@link isClaimable}. */
  claim(entry: Entry, task: TaskRecord, worker: Worker, token: number): Attempt {
    const known = task.attempts.find((attempt) => attempt.token === token);
    const record = known ?? newAttempt(token, worker, this.#clock.now());
    if (known === undefined) task.attempts.push(record);
    return this.#hold(entry, task, worker, record);
  }

  /** The token is dead from now on, or waits to be claimed. */
  release(entry: Entry): Attempt | undefined {
    const { attempt } = entry;
    if (attempt === undefined) return undefined;
    entry.attempt = undefined;
    this.#live.delete(attempt.record.token);
    attempt.worker.release(attempt.record.token, attempt.share);
    return attempt;
  }

  clear(): void {
    this.#live.clear();
  }

  #hold(entry: Entry, task: TaskRecord, worker: Worker, record: AttemptRecord): Attempt {
    const share = worker.hold(record.token, task.model);
    const attempt: Attempt = { record, worker, share, sentAtMs: this.#clock.monotonic() };
    entry.attempt = attempt;
    entry.lastToken = record.token;
    this.#live.set(record.token, entry);
    return attempt;
  }
}

function newAttempt(token: number, worker: Worker, nowMs: number): AttemptRecord {
  return {
    token,
    workerId: worker.id,
    site: worker.hello.site,
    startedAtMs: nowMs,
    acceptedAtMs: undefined,
    endedAtMs: undefined,
    outcome: undefined,
    error: undefined,
  };
}
