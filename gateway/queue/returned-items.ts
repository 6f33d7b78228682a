/**
 * What was taken from one class and came back: waits before the rest of the class, in the order in which it was first queued.
 *
 * Each of them has workers of its own to avoid, so each is offered for itself; a limit keeps a pass short when many of them can go nowhere.
 * A pass that reaches the limit leaves those it refused behind the others, so that the next one goes on where it stopped and everybody is
 * offered in turn.
 */

import { IndexedHeap } from "./heap.ts";
import type { QueueItem } from "./queue-item.ts";

/** How many of a class are offered in vain before a pass leaves the rest alone. */
export const MAX_REFUSED_PER_PASS = 32;

const newHeap = (): IndexedHeap<QueueItem> =>
  new IndexedHeap((a, b) => a.queueOrder < b.queueOrder, {
    get: (item) => item.queueSlot,
    set: (item, position) => {
      item.queueSlot = position;
    },
  });

export class ReturnedItems {
  #waiting = newHeap();
  /** Refused by an earlier pass that did not come to the end. */
  #behind = newHeap();
  /** Refused by this pass. */
  #refused: QueueItem[] = [];

  get size(): number {
    return this.#waiting.size + this.#behind.size + this.#refused.length;
  }

  /** The one to offer now, if there is another for this pass. */
  next(): QueueItem | undefined {
    if (this.#refused.length >= MAX_REFUSED_PER_PASS) return undefined;
    if (this.#waiting.size === 0) [this.#waiting, this.#behind] = [this.#behind, this.#waiting];
    return this.#waiting.first;
  }

  *values(): IterableIterator<QueueItem> {
    yield* this.#waiting.values();
    yield* this.#behind.values();
    yield* this.#refused;
  }

  add(item: QueueItem): void {
    item.queueHome = "returned";
    this.#waiting.add(item);
  }

  remove(item: QueueItem): void {
    item.queueHome = undefined;
    if (this.#waiting.remove(item) || this.#behind.remove(item)) return;
    this.#refused = this.#refused.filter((refused) => refused !== item);
  }

  /** @param item the {@link next} one. */
  refuse(item: QueueItem): void {
    this.#waiting.remove(item);
    this.#refused.push(item);
  }

  endPass(): void {
    if (this.#refused.length === 0) return;
    const heap = this.#refused.length < MAX_REFUSED_PER_PASS ? this.#waiting : this.#behind;
    for (const item of this.#refused) heap.add(item);
    this.#refused = [];
  }
}
