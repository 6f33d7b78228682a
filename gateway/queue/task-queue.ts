/**
 * Tasks that wait for a worker: classes by priority with ageing, fair between owners inside a class, and no group held up by another.
 *
 * **Order.** A more urgent class goes first. In a class, what was taken and came back goes first; then the owners that wait take turns, and in its
 * turn an owner's oldest item goes. When nobody can take the first of a group, the group is left alone for the rest of the pass and the others go on.
 *
 * **Ageing** is counted in items taken, not in seconds, so that it holds however fast the workers are. Class i (0 is the most urgent) has the limit
 * 4·2^(i−1): HIGH 4, NORMAL 8, LOW 16. When so many items of other classes have been taken since its last turn by age, and since a group of it was
 * served last, that group goes first once; of several classes the least urgent does. What the class gets besides, because nobody more urgent could
 * use the worker, is no turn by age: else a model whose workers are free would use up the turns of one whose workers are fought over.
 *
 * **Bounds.** While the first item of some group in class i can be placed at any time, at most limit(i) items of other classes, and one of each
 * less urgent class, are taken before one of class i: between two LOW items at most 16 others, NORMAL 8 + 1, HIGH 4 + 2. While something of the
 * most urgent class can be placed, of n items in a row at most ⌈n/5⌉ are HIGH, ⌈n/9⌉ NORMAL and ⌈n/17⌉ LOW: from n = 13 on, CRITICAL has more than
 * half, and in the long run at least 63 %.
 */

import type { CanPlace } from "./fair-lanes.ts";
import { PriorityClass } from "./priority-class.ts";
import type { QueueItem } from "./queue-item.ts";

export { QueueItem } from "./queue-item.ts";

export class TaskQueue<Item extends QueueItem> {
  readonly #classes: readonly PriorityClass[];
  /** By group. */
  readonly #counts = new Map<string, number>();
  #size = 0;
  #lastOrder = 0;

  constructor(classCount: number) {
    this.#classes = Array.from({ length: classCount }, (_, i) => new PriorityClass(ageLimit(i)));
  }

  get size(): number {
    return this.#size;
  }

  isQueued(item: Item): boolean {
    return item.queueHome !== undefined;
  }

  pushBack(item: Item): void {
    this.#enter(item).pushBack(item);
  }

  /**
   * For what was taken and came back: before everything else of its class; among those that came back, the one that was first queued first. Not
   * for a whole backlog: those that came back take no turns between owners, and a pass gives up on the rest of them after
   * `MAX_REFUSED_PER_PASS` in vain.
   */
  pushFront(item: Item): void {
    this.#enter(item).pushFront(item);
  }

  /** @returns whether it was waiting. */
  remove(item: Item): boolean {
    if (item.queueHome === undefined) return false;
    this.#classOf(item).remove(item);
    this.#left(item);
    return true;
  }

  /**
   * One pass: offers items in order until nothing more can be placed.
   *
   * @param choose who takes this item, `undefined` when nobody can now. It must leave the queue as it is. What nobody can take now is not asked for
   * again in this pass, nor is the rest of its group and class, unless it came back.
   * @param take called for each placed item when it has left the queue. It may push and remove items.
   */
  place<Choice>(
    choose: (item: Item) => Choice | undefined,
    take: (item: Item, choice: Choice) => void,
  ): void {
    let choice: Choice | undefined;
    const canPlace: CanPlace = (item) => {
      choice = choose(item as Item);
      return choice !== undefined;
    };
    try {
      for (let item = this.#takeNext(canPlace); item !== undefined; item = this.#takeNext(canPlace)) {
        take(item as Item, choice as Choice);
      }
    } finally {
      for (const each of this.#classes) each.endPass();
    }
  }

  /**
   * How many are expected to be taken before it, ageing left out; O(owners). An upper bound where items in the middle were cancelled or taken out of
   * turn, and for one that came back. 0 when it is not queued.
   */
  positionOf(item: Item): number {
    if (item.queueHome === undefined) return 0;
    let position = this.#classOf(item).positionOf(item);
    for (let i = 0; i < item.classIndex; i += 1) position += this.#classes[i]?.size ?? 0;
    return position;
  }

  countOf(group: string): number {
    return this.#counts.get(group) ?? 0;
  }

  countOfClass(classIndex: number): number {
    return this.#classes[classIndex]?.size ?? 0;
  }

  /** Of the group's waiting items the one that was first queued first; O(owners, and items that came back). */
  oldestOf(group: string): Item | undefined {
    let oldest: QueueItem | undefined;
    for (const each of this.#classes) {
      for (const item of each.candidatesForOldest(group)) {
        if (oldest === undefined || item.queueOrder < oldest.queueOrder) oldest = item;
      }
    }
    return oldest as Item | undefined;
  }

  #enter(item: QueueItem): PriorityClass {
    if (item.queueHome !== undefined) throw new Error("The item waits in a queue already.");
    const into = this.#classOf(item);
    if (item.queueOrder === 0) {
      this.#lastOrder += 1;
      item.queueOrder = this.#lastOrder;
    }
    this.#counts.set(item.group, this.countOf(item.group) + 1);
    this.#size += 1;
    return into;
  }

  #left(item: QueueItem): void {
    const count = this.countOf(item.group) - 1;
    if (count === 0) this.#counts.delete(item.group);
    else this.#counts.set(item.group, count);
    this.#size -= 1;
  }

  #takeNext(canPlace: CanPlace): QueueItem | undefined {
    const item = this.#takeAged(canPlace) ?? this.#takeUrgent(canPlace);
    if (item === undefined) return undefined;
    this.#left(item);
    const from = this.#classOf(item);
    for (const each of this.#classes) if (each !== from) each.passOver();
    return item;
  }

  #takeAged(canPlace: CanPlace): QueueItem | undefined {
    for (let i = this.#classes.length - 1; i > 0; i -= 1) {
      const item = this.#classes[i]?.takeAged(canPlace);
      if (item !== undefined) return item;
    }
    return undefined;
  }

  #takeUrgent(canPlace: CanPlace): QueueItem | undefined {
    for (const each of this.#classes) {
      const item = each.takeFirst(canPlace);
      if (item !== undefined) return item;
    }
    return undefined;
  }

  #classOf(item: QueueItem): PriorityClass {
    const found = this.#classes[item.classIndex];
    if (found === undefined) throw new RangeError(`There is no class ${item.classIndex}.`);
    return found;
  }
}

/** Powers of two, so that the turns by age of all classes together stay well under a half. */
const ageLimit = (classIndex: number): number =>
  classIndex === 0 ? Number.POSITIVE_INFINITY : 4 * 2 ** (classIndex - 1);
