/** One class of the queue: what came back goes first, then the owners take turns. Counts how often it was passed over. */

import { type CanPlace, FairLanes } from "./fair-lanes.ts";
import type { QueueItem } from "./queue-item.ts";
import { ReturnedItems } from "./returned-items.ts";

export class PriorityClass {
  readonly #lanes = new FairLanes();
  readonly #returned = new ReturnedItems();
  readonly #maxPassedOver: number;
  /** How many items of other classes have been taken, ever; and how many when it last had a turn by age or began to wait. */
  #passedOver = 0;
  #passedOverMark = 0;

  /** @param maxPassedOver at so many items of other classes it has a turn by age; infinite: never. */
  constructor(maxPassedOver: number) {
    this.#maxPassedOver = maxPassedOver;
  }

  get size(): number {
    return this.#lanes.size + this.#returned.size;
  }

  pushBack(item: QueueItem): void {
    this.#beginToWait();
    this.#lanes.push(item, this.#passedOver);
  }

  pushFront(item: QueueItem): void {
    this.#beginToWait();
    this.#returned.add(item);
  }

  remove(item: QueueItem): void {
    if (item.queueHome === "returned") this.#returned.remove(item);
    else if (item.queueHome !== undefined) this.#lanes.remove(item, item.queueHome);
  }

  /** An item of another class was taken. */
  passOver(): void {
    this.#passedOver += 1;
  }

  /** Takes out the first item that can be placed. */
  takeFirst(canPlace: CanPlace): QueueItem | undefined {
    return this.#takeReturned(canPlace) ?? this.#lanes.takeFirst(canPlace, this.#passedOver);
  }

  /** The same, if its turn by age has come. */
  takeAged(canPlace: CanPlace): QueueItem | undefined {
    if (this.size === 0 || this.#passedOver - this.#passedOverMark < this.#maxPassedOver) return undefined;
    const item =
      this.#takeReturned(canPlace) ??
      this.#lanes.takeFirstPassedOver(this.#maxPassedOver, canPlace, this.#passedOver);
    if (item !== undefined) this.#passedOverMark = this.#passedOver;
    return item;
  }

  endPass(): void {
    this.#returned.endPass();
    this.#lanes.endPass();
  }

  positionOf(item: QueueItem): number {
    if (item.queueHome === "returned") return this.#returned.size - 1;
    if (item.queueHome === undefined) return 0;
    return this.#returned.size + this.#lanes.countBefore(item, item.queueHome);
  }

  /** Among them the one of the group that has waited longest. */
  *candidatesForOldest(group: string): IterableIterator<QueueItem> {
    for (const item of this.#returned.values()) if (item.group === group) yield item;
    yield* this.#lanes.heads(group);
  }

  #beginToWait(): void {
    if (this.size === 0) this.#passedOverMark = this.#passedOver;
  }

  #takeReturned(canPlace: CanPlace): QueueItem | undefined {
    for (let item = this.#returned.next(); item !== undefined; item = this.#returned.next()) {
      if (canPlace(item)) {
        this.#returned.remove(item);
        return item;
      }
      this.#returned.refuse(item);
    }
    return undefined;
  }
}
