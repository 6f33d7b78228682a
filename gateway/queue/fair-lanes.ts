/**
 * The items of one class, fair between their owners: the owners take turns, and in its turn an owner's oldest item that can be placed goes.
 *
 * A group that nobody can serve is blocked for the rest of the pass; an owner whose groups are all blocked keeps its turn. A group knows its
 * owners in the order of their turns, and the class knows its groups in the order of their first owners, so that neither many owners nor many
 * items make a pass longer, only groups do. With n for whichever is more, owners or groups: to push and to remove costs O(log n), to take
 * O(log n) for each group in which the owner waits.
 */

import { type HeapSlot, IndexedHeap } from "./heap.ts";
import { Lane, type LaneGroup, type LaneOwner, type QueueItem } from "./queue-item.ts";

/** Asks whether an item can be placed now. */
export type CanPlace = (item: QueueItem) => boolean;

export class FairLanes {
  readonly #owners = new Map<string, LaneOwner>();
  readonly #groups = new Map<string, LaneGroup>();
  /** Those that have items and are not blocked, by the turn of their first owner, then by the age of its item. */
  readonly #open = new IndexedHeap<LaneGroup>(isGroupBefore, {
    get: (group) => group.slot,
    set: (group, position) => {
      group.slot = position;
    },
  });
  #blocked: LaneGroup[] = [];
  #lastTurn = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** @param passedOver how many items of other classes have been taken. */
  push(item: QueueItem, passedOver: number): void {
    const owner = this.#owner(item.owner);
    const group = this.#group(item.group, passedOver);
    let lane = owner.lanes.get(group.name);
    if (lane === undefined) {
      lane = new Lane(owner, group);
      owner.lanes.set(group.name, lane);
    }
    owner.lastSequence += 1;
    item.queueSequence = owner.lastSequence;
    lane.append(item);
    owner.count += 1;
    this.#size += 1;
    if (lane.count > 1) return;
    group.lanes.add(lane);
    this.#place(group);
  }

  remove(item: QueueItem, lane: Lane): void {
    const { owner, group } = lane;
    lane.remove(item);
    owner.count -= 1;
    this.#size -= 1;
    if (lane.count === 0) {
      group.lanes.remove(lane);
      owner.lanes.delete(group.name);
      if (owner.count === 0) this.#owners.delete(item.owner);
    }
    this.#place(group);
  }

  /** Takes out the first item that can be placed. */
  takeFirst(canPlace: CanPlace, passedOver: number): QueueItem | undefined {
    for (let group = this.#open.first; group !== undefined; group = this.#open.first) {
      const item = this.#takeFrom(group, canPlace, passedOver);
      if (item !== undefined) return item;
    }
    return undefined;
  }

  /** The same, only among groups that were passed over at least `times` times since they were served. */
  takeFirstPassedOver(times: number, canPlace: CanPlace, passedOver: number): QueueItem | undefined {
    const groups = [...this.#open.values()].filter((group) => passedOver - group.passedOverMark >= times);
    for (const group of groups.sort(compareGroups)) {
      const item = this.#takeFrom(group, canPlace, passedOver);
      if (item !== undefined) return item;
    }
    return undefined;
  }

  endPass(): void {
    const groups = this.#blocked;
    this.#blocked = [];
    for (const group of groups) {
      group.isBlocked = false;
      this.#place(group);
    }
  }

  /** How many go before it while everything can be placed. Exact until an item behind the first is removed, or taken because others were blocked. */
  countBefore(item: QueueItem, lane: Lane): number {
    const own = countOwnBefore(item, lane);
    let count = own;
    for (const owner of this.#owners.values()) {
      if (owner === lane.owner) continue;
      count += Math.min(owner.count, owner.turn < lane.owner.turn ? own + 1 : own);
    }
    return count;
  }

  /** The first item of each owner in the group. */
  *heads(groupName: string): IterableIterator<QueueItem> {
    for (const lane of this.#groups.get(groupName)?.lanes.values() ?? []) {
      if (lane.first !== undefined) yield lane.first;
    }
  }

  #takeFrom(group: LaneGroup, canPlace: CanPlace, passedOver: number): QueueItem | undefined {
    const lane = group.lanes.first;
    const item = lane?.first;
    if (lane === undefined || item === undefined) return undefined;
    if (!canPlace(item)) {
      this.#block(group);
      return undefined;
    }
    group.passedOverMark = passedOver;
    this.#endTurn(lane.owner);
    this.remove(item, lane);
    return item;
  }

  #block(group: LaneGroup): void {
    group.isBlocked = true;
    this.#open.remove(group);
    this.#blocked.push(group);
  }

  /** All the owner's groups change places at once, which a heap cannot mend one by one: they leave and come back. */
  #endTurn(owner: LaneOwner): void {
    for (const { group } of owner.lanes.values()) this.#open.remove(group);
    this.#lastTurn += 1;
    owner.turn = this.#lastTurn;
    for (const lane of owner.lanes.values()) {
      lane.group.lanes.update(lane);
      this.#place(lane.group);
    }
  }

  /** Puts the group where it belongs after its lanes changed. */
  #place(group: LaneGroup): void {
    if (group.isBlocked) return;
    if (group.lanes.size === 0) {
      this.#open.remove(group);
      this.#groups.delete(group.name);
    } else if (this.#open.has(group)) this.#open.update(group);
    else this.#open.add(group);
  }

  #owner(name: string): LaneOwner {
    let owner = this.#owners.get(name);
    if (owner === undefined) {
      this.#lastTurn += 1;
      owner = { turn: this.#lastTurn, count: 0, lastSequence: 0, lanes: new Map() };
      this.#owners.set(name, owner);
    }
    return owner;
  }

  #group(name: string, passedOver: number): LaneGroup {
    let group = this.#groups.get(name);
    if (group === undefined) {
      const lanes = new IndexedHeap(isLaneBefore, laneSlot);
      group = { name, lanes, passedOverMark: passedOver, isBlocked: false, slot: -1 };
      this.#groups.set(name, group);
    }
    return group;
  }
}

const laneSlot: HeapSlot<Lane> = {
  get: (lane) => lane.slot,
  set: (lane, position) => {
    lane.slot = position;
  },
};

const isLaneBefore = (a: Lane, b: Lane): boolean => a.owner.turn < b.owner.turn;

/** An owner whose turn it is stands first in each of its groups: then the older item decides. */
function compareGroups({ lanes: a }: LaneGroup, { lanes: b }: LaneGroup): number {
  const byTurn = (a.first?.owner.turn ?? 0) - (b.first?.owner.turn ?? 0);
  return byTurn !== 0 ? byTurn : (a.first?.first?.queueSequence ?? 0) - (b.first?.first?.queueSequence ?? 0);
}

function isGroupBefore(a: LaneGroup, b: LaneGroup): boolean {
  return compareGroups(a, b) < 0;
}

/** How many of the same owner go first; what is known of each of its lanes gives an upper bound. */
function countOwnBefore(item: QueueItem, lane: Lane): number {
  let count = 0;
  let oldest = item.queueSequence;
  for (const other of lane.owner.lanes.values()) {
    const first = other.first?.queueSequence ?? item.queueSequence;
    if (first >= item.queueSequence) continue;
    const waiting = other === lane ? other.count - 1 : other.count;
    count += Math.min(waiting, item.queueSequence - first);
    oldest = Math.min(oldest, first);
  }
  return Math.min(count, item.queueSequence - oldest);
}
