/**
 * Items that are due at a time, with one timer for all of them.
 *
 * A million deadlines may be held, so an item carries its own position and its time stands beside it in a typed array. Times are wall-clock
 * times and timers are not: a sleep has a longest duration, so that a wall clock that was set, or a machine that slept, is noticed.
 */

import type { Clock, Timer } from "@legacygpu/shared/clock";
import { type HeapArray, type HeapSlot, settle } from "./heap.ts";

const MAX_SLEEP_MS = 60_000;
/** A burst of due items is worked off in several turns of the event loop, so that links and requests are served in between. */
const MAX_DUE_PER_TURN = 1000;
const FIRST_CAPACITY = 64;

export interface TimeHeapOptions<Item> {
  readonly clock: Clock;
  readonly slot: HeapSlot<Item>;
  /** The item is no longer held. May add and remove items. */
  readonly onDue: (item: Item) => void;
}

export class TimeHeap<Item> {
  readonly #clock: Clock;
  readonly #onDue: (item: Item) => void;
  readonly #items: TimedItems<Item>;
  #timer: Timer | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #isClosed = false;

  constructor({ clock, slot, onDue }: TimeHeapOptions<Item>) {
    this.#clock = clock;
    this.#onDue = onDue;
    this.#items = new TimedItems(slot);
  }

  get size(): number {
    return this.#items.size;
  }

  /** @param atMs wall clock; replaces an earlier time of the item. One that has passed is due at the next turn of the event loop. */
  add(item: Item, atMs: number): void {
    if (Number.isNaN(atMs)) throw new RangeError("A time is a number.");
    if (this.#isClosed) return;
    this.#items.set(item, atMs);
    this.#arm();
  }

  /** @returns whether it was held. */
  remove(item: Item): boolean {
    if (!this.#items.remove(item)) return false;
    if (this.size === 0) this.#disarm();
    return true;
  }

  /** Wall clock; undefined when the item is not held. */
  timeOf(item: Item): number | undefined {
    return this.#items.timeOf(item);
  }

  /** Forgets everything; nothing is due any more, and what is added is not held. */
  close(): void {
    this.#isClosed = true;
    this.#items.clear();
    this.#disarm();
  }

  /** A timer that fires too early costs less than to set it anew whenever the earliest item leaves. */
  #arm(): void {
    const firstAtMs = this.#items.firstAtMs;
    if (firstAtMs === undefined || firstAtMs >= this.#timerAtMs) return;
    const nowMs = this.#clock.now();
    if (this.#timerAtMs <= nowMs) return;
    this.#disarm();
    const sleepMs = Math.min(Math.max(0, firstAtMs - nowMs), MAX_SLEEP_MS);
    this.#timerAtMs = nowMs + sleepMs;
    this.#timer = this.#clock.after(sleepMs, () => this.#fired());
  }

  #disarm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAtMs = Number.POSITIVE_INFINITY;
  }

  #fired(): void {
    const nowMs = this.#clock.now();
    // What onDue adds must not set a timer each time.
    this.#timerAtMs = Number.NEGATIVE_INFINITY;
    try {
      this.#workOff(nowMs);
    } finally {
      this.#disarm();
      this.#arm();
    }
  }

  #workOff(nowMs: number): void {
    for (let left = MAX_DUE_PER_TURN; left > 0; left -= 1) {
      const item = this.#items.takeDue(nowMs);
      if (item === undefined) return;
      this.#onDue(item);
    }
  }
}

class TimedItems<Item> implements HeapArray {
  readonly #slot: HeapSlot<Item>;
  #items: Item[] = [];
  #timesMs = new Float64Array(FIRST_CAPACITY);

  constructor(slot: HeapSlot<Item>) {
    this.#slot = slot;
  }

  get size(): number {
    return this.#items.length;
  }

  get firstAtMs(): number | undefined {
    return this.size === 0 ? undefined : this.#timesMs[0];
  }

  timeOf(item: Item): number | undefined {
    const position = this.#positionOf(item);
    return position === undefined ? undefined : this.#timesMs[position];
  }

  set(item: Item, atMs: number): void {
    const position = this.#positionOf(item) ?? this.#append(item);
    this.#timesMs[position] = atMs;
    settle(this, position);
  }

  remove(item: Item): boolean {
    const position = this.#positionOf(item);
    if (position === undefined) return false;
    this.swap(position, this.size - 1);
    this.#items.pop();
    if (position < this.size) settle(this, position);
    return true;
  }

  /** Takes out the first one if its time has come. */
  takeDue(nowMs: number): Item | undefined {
    const atMs = this.firstAtMs;
    if (atMs === undefined || atMs > nowMs) return undefined;
    const first = this.#items[0] as Item;
    this.remove(first);
    return first;
  }

  clear(): void {
    this.#items = [];
  }

  isBefore(a: number, b: number): boolean {
    return (this.#timesMs[a] as number) < (this.#timesMs[b] as number);
  }

  swap(a: number, b: number): void {
    const item = this.#items[a] as Item;
    const other = this.#items[b] as Item;
    const atMs = this.#timesMs[a] as number;
    this.#items[a] = other;
    this.#items[b] = item;
    this.#timesMs[a] = this.#timesMs[b] as number;
    this.#timesMs[b] = atMs;
    this.#slot.set(other, a);
    this.#slot.set(item, b);
  }

  #positionOf(item: Item): number | undefined {
    const position = this.#slot.get(item);
    return position >= 0 && this.#items[position] === item ? position : undefined;
  }

  #append(item: Item): number {
    const position = this.size;
    if (position === this.#timesMs.length) this.#grow();
    this.#items.push(item);
    this.#slot.set(item, position);
    return position;
  }

  #grow(): void {
    const larger = new Float64Array(this.#timesMs.length * 2);
    larger.set(this.#timesMs);
    this.#timesMs = larger;
  }
}
