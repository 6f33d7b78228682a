/**
 * One attempt that this agent holds, and the table of them.
 *
 * | state     | the agent                                   | leaves it                                                     |
 * | --------- | ------------------------------------------- | ------------------------------------------------------------- |
 * | preparing | fetches the input or the model              | both there → queued; failure, deadline → finished             |
 * | queued    | has given it to the runner                  | the runner begins → running; failure, deadline → finished     |
 * | running   | computes                                    | done, failure, deadline, limit → finished; another worker was faster → superseded |
 * | superseded | computes, for nobody                       | done, failure, deadline, limit → gone                         |
 * | finished  | delivers the outcome until it is confirmed  | confirmed → gone                                              |
 *
 * In every state a cancel, or a `welcome` that does not keep the token, makes it gone: nothing is said about it any more. A lost
 * link changes no state: what computes goes on, what is finished is delivered on the next connection. What an earlier start of the agent
 * has finished and not delivered begins as finished.
 */

import type { Timer } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { Ticket } from "../runner/job.ts";
import type { Outcome } from "./outcome.ts";
import type { SpooledAttempt } from "./spool.ts";

export type AttemptState = "preparing" | "queued" | "running" | "superseded" | "finished" | "gone";

/** The outcome is on the disk and not in memory. */
export interface Spooled {
  readonly kind: "spooled";
  readonly sizeBytes: number;
}

export interface Attempt {
  readonly taskId: string;
  readonly token: number;
  /** Monotonic. */
  readonly arrivedAt: number;
  state: AttemptState;
  /** Of its input, then of its outcome. */
  heldBytes: number;
  fetchMs: number;
  /** Fetching the model; loading it is counted by the runner. */
  modelMs: number;
  deadline: Timer | undefined;
  ticket: Ticket | undefined;
  outcome: Outcome | Spooled | undefined;
  /** Aborts the transfer that goes on for it. */
  transfer: AbortController | undefined;
}

const NEXT: Readonly<Record<AttemptState, readonly AttemptState[]>> = {
  preparing: ["queued", "finished", "gone"],
  // A runner that dies gives back what it has begun.
  queued: ["running", "finished", "gone"],
  running: ["superseded", "finished", "gone"],
  superseded: ["gone"],
  finished: ["gone"],
  gone: [],
};

/** More than any credit that a gateway gives; a bound, not a target. What is on the disk has bounds of its own. */
const MAX_ATTEMPTS = 2000;
const MAX_BYTES = 512 * 1024 * 1024;
const INLINE_OUTCOME_BYTES = 1024;

export class AttemptTable {
  readonly #attempts = new Map<number, Attempt>();
  #heldBytes = 0;
  #spooledCount = 0;

  get size(): number {
    return this.#attempts.size;
  }

  /** How many of them are finished and on the disk. */
  get spooledCount(): number {
    return this.#spooledCount;
  }

  /** Whether an attempt with so large an input can be held. One is always taken, however large. */
  hasRoomFor(inputBytes: number): boolean {
    const inMemory = this.size - this.#spooledCount;
    return inMemory === 0 || (inMemory < MAX_ATTEMPTS && this.#heldBytes + inputBytes <= MAX_BYTES);
  }

  add(identity: { taskId: string; token: number }, arrivedAt: number, inputBytes: number): Attempt {
    const attempt: Attempt = {
      taskId: identity.taskId,
      token: identity.token,
      arrivedAt,
      state: "preparing",
      heldBytes: 0,
      fetchMs: 0,
      modelMs: 0,
      deadline: undefined,
      ticket: undefined,
      outcome: undefined,
      transfer: undefined,
    };
    this.#attempts.set(attempt.token, attempt);
    this.#hold(attempt, inputBytes);
    return attempt;
  }

  /** One that an earlier start of the agent has finished. */
  adopt(spooled: SpooledAttempt, now: number): Attempt {
    const attempt = this.add(spooled, now, 0);
    this.transition(attempt, "finished");
    this.keepOutcome(attempt, { kind: "spooled", sizeBytes: spooled.sizeBytes });
    return attempt;
  }

  get(token: number): Attempt | undefined {
    return this.#attempts.get(token);
  }

  /** Oldest first. */
  all(): Attempt[] {
    return [...this.#attempts.values()];
  }

  /** The outcome of a finished attempt, wherever it is now. */
  keepOutcome(attempt: Attempt, outcome: Attempt["outcome"]): void {
    if (attempt.outcome?.kind === "spooled") this.#spooledCount -= 1;
    if (outcome?.kind === "spooled") this.#spooledCount += 1;
    attempt.outcome = outcome;
    this.#hold(attempt, memoryBytesOf(outcome));
  }

  transition(attempt: Attempt, to: AttemptState): void {
    if (!NEXT[attempt.state].includes(to))
      throw fail("internal", `An attempt cannot go from ${attempt.state} to ${to}.`);
    attempt.state = to;
    if (to !== "finished" && to !== "gone") return;
    attempt.deadline?.cancel();
    attempt.transfer?.abort();
    attempt.transfer = undefined;
    if (to !== "gone") return;
    this.keepOutcome(attempt, undefined);
    this.#attempts.delete(attempt.token);
  }

  /** The oldest finished ones beyond the bound on bytes: while a gateway is away for long, outcomes must not fill the memory. */
  overflow(): Attempt[] {
    const victims: Attempt[] = [];
    let excess = this.#heldBytes - MAX_BYTES;
    for (const attempt of this.#attempts.values()) {
      if (excess <= 0) break;
      if (attempt.state !== "finished" || attempt.heldBytes === 0) continue;
      victims.push(attempt);
      excess -= attempt.heldBytes;
    }
    return victims;
  }

  #hold(attempt: Attempt, bytes: number): void {
    this.#heldBytes += bytes - attempt.heldBytes;
    attempt.heldBytes = bytes;
  }
}

function memoryBytesOf(outcome: Attempt["outcome"]): number {
  if (outcome === undefined || outcome.kind === "spooled") return 0;
  return outcome.kind === "beside" ? outcome.body.length : INLINE_OUTCOME_BYTES;
}
