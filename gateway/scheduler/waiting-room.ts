/**
 * Tasks that no worker has: in the queue, or parked until a time. Says in which order they are offered, and when.
 *
 * Offering never nests: what happens while tasks are being placed only changes the queue, which is offered again afterwards.
 */

import type { Clock, Random } from "@legacygpu/shared/clock";
import { PRIORITIES } from "@legacygpu/shared/task";
import { TaskQueue } from "../queue/task-queue.ts";
import { TimeHeap } from "../queue/time-heap.ts";
import type { Worker } from "../registry/worker.ts";
import type { Entry } from "./entry.ts";
import { RetryBudget } from "./retry-budget.ts";

/** How soon a retry asks again when the budget of retries was spent. */
const BUDGET_WAIT_MS = 1000;

export interface WaitingRoomOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Before tasks are offered. @returns false when there are none, or nobody can take any. */
  readonly begin: (waiting: number) => boolean;
  /** After that, when some are left. */
  readonly end: () => void;
  /** Who may have it now; undefined: nobody. */
  readonly choose: (entry: Entry) => Worker | undefined;
  /** It has left the room. */
  readonly send: (entry: Entry, worker: Worker) => void;
}

export class WaitingRoom {
  readonly #options: WaitingRoomOptions;
  readonly #queue = new TaskQueue<Entry>(PRIORITIES.length);
  readonly #parked: TimeHeap<Entry>;
  readonly #budget: RetryBudget;
  #isHeld = false;

  constructor(options: WaitingRoomOptions) {
    const { clock } = options;
    this.#options = options;
    this.#budget = new RetryBudget(clock);
    this.#parked = new TimeHeap({
      clock,
      slot: { get: (entry) => entry.parkingSlot, set: (entry, index) => (entry.parkingSlot = index) },
      onDue: (entry) => this.#due(entry),
    });
  }

  enter(entry: Entry, end: "front" | "back"): void {
    entry.queuedAtMs = this.#options.clock.monotonic();
    if (end === "front") this.#queue.pushFront(entry);
    else this.#queue.pushBack(entry);
  }

  /** Until `atMs` on the wall clock; then it goes to the front. */
  park(entry: Entry, atMs: number): void {
    this.#parked.add(entry, atMs);
  }

  leave(entry: Entry): void {
    this.#queue.remove(entry);
    this.#parked.remove(entry);
  }

  /** A task has succeeded: more may be tried again. */
  succeeded(): void {
    this.#budget.succeeded();
  }

  /** Offers what waits until nothing more can be placed. */
  offer(): void {
    if (this.#isHeld) return;
    this.#isHeld = true;
    try {
      if (this.#options.begin(this.#queue.size)) this.#queue.place(this.#options.choose, this.#options.send);
      if (this.#queue.size > 0) this.#options.end();
    } finally {
      this.#isHeld = false;
    }
  }

  /** Nothing is offered while `work` runs; then everything is. */
  offerAfter(work: () => void): void {
    const wasHeld = this.#isHeld;
    this.#isHeld = true;
    try {
      work();
    } finally {
      this.#isHeld = wasHeld;
    }
    this.offer();
  }

  /** How many go before it, at most; undefined when it is not in the queue. */
  positionOf(entry: Entry): number | undefined {
    return this.#queue.isQueued(entry) ? this.#queue.positionOf(entry) : undefined;
  }

  /** Wall clock; undefined when it is not parked. */
  dueAtMs(entry: Entry): number | undefined {
    return this.#parked.timeOf(entry);
  }

  countIn(group: string): number {
    return this.#queue.countOf(group);
  }

  countOf(groups: readonly string[]): number {
    return groups.reduce((sum, group) => sum + this.#queue.countOf(group), 0);
  }

  /** Of these groups the one that has waited longest. */
  oldestOf(groups: readonly string[]): Entry | undefined {
    let oldest: Entry | undefined;
    for (const group of groups) {
      const entry = this.#queue.oldestOf(group);
      if (entry !== undefined && (oldest === undefined || entry.id < oldest.id)) oldest = entry;
    }
    return oldest;
  }

  close(): void {
    this.#parked.close();
  }

  #due(entry: Entry): void {
    const { clock, random } = this.#options;
    if (entry.trouble?.isChargedRetry === true && !this.#budget.spend()) {
      this.park(entry, clock.now() + BUDGET_WAIT_MS * (0.5 + random()));
      return;
    }
    if (entry.trouble !== undefined) entry.trouble.isChargedRetry = false;
    this.enter(entry, "front");
    this.offer();
  }
}
