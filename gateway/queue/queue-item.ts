/** What waits, and the lane in which it waits: a class has one lane for each owner and group. */

import type { IndexedHeap } from "./heap.ts";

/** An owner's share of a class. */
export interface LaneOwner {
  /** Rises whenever an owner joins or has had its turn: the lowest is the next. */
  turn: number;
  count: number;
  lastSequence: number;
  /** By group. */
  readonly lanes: Map<string, Lane>;
}

/** A group's share of a class. */
export interface LaneGroup {
  readonly name: string;
  /** The owner whose turn comes first is the first. */
  readonly lanes: IndexedHeap<Lane>;
  /** How many tasks of other classes had been taken when it was served last or began to wait. */
  passedOverMark: number;
  /** Nobody can take anything of it for the rest of this pass. */
  isBlocked: boolean;
  slot: number;
}

/**
 * Base of what can be queued. An item is its own place in the queue, so that a million of them need no further objects; an item is in one queue
 * at a time. The fields that begin with `queue` belong to the queue.
 */
export abstract class QueueItem {
  /** 0 is the most urgent. */
  readonly classIndex: number;
  /** Inside a class the owners take turns. */
  readonly owner: string;
  /** Items of one group can run on the same workers. */
  readonly group: string;

  queueHome: Lane | "returned" | undefined = undefined;
  queuePrevious: QueueItem | undefined = undefined;
  queueNext: QueueItem | undefined = undefined;
  /** Given when it is queued for the first time, and kept. 0: never queued. */
  queueOrder = 0;
  /** Its number among those of its owner in its class. */
  queueSequence = 0;
  queueSlot = -1;

  constructor(classIndex: number, owner: string, group: string) {
    this.classIndex = classIndex;
    this.owner = owner;
    this.group = group;
  }
}

/** First in, first out. */
export class Lane {
  readonly owner: LaneOwner;
  readonly group: LaneGroup;
  first: QueueItem | undefined = undefined;
  count = 0;
  slot = -1;
  #last: QueueItem | undefined = undefined;

  constructor(owner: LaneOwner, group: LaneGroup) {
    this.owner = owner;
    this.group = group;
  }

  append(item: QueueItem): void {
    item.queueHome = this;
    item.queuePrevious = this.#last;
    if (this.#last === undefined) this.first = item;
    else this.#last.queueNext = item;
    this.#last = item;
    this.count += 1;
  }

  remove(item: QueueItem): void {
    const { queuePrevious: previous, queueNext: next } = item;
    if (previous === undefined) this.first = next;
    else previous.queueNext = next;
    if (next === undefined) this.#last = previous;
    else next.queuePrevious = previous;
    item.queueHome = undefined;
    item.queuePrevious = undefined;
    item.queueNext = undefined;
    this.count -= 1;
  }
}
