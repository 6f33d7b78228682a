/** A binary heap whose items know where they stand in it, so that any of them can be moved or taken out in O(log n) and without a map. */

/** Where an item keeps its position; one field of its own for each heap that it can be in. The value means nothing outside the heap. */
export interface HeapSlot<Item> {
  get(item: Item): number;
  set(item: Item, position: number): void;
}

/** Something that can be kept as a heap; positions are 0 … size − 1. */
export interface HeapArray {
  readonly size: number;
  isBefore(a: number, b: number): boolean;
  swap(a: number, b: number): void;
}

/** Mends the heap after the one at `position` was added or its rank changed. Only one may be out of place at a time. */
export function settle(heap: HeapArray, position: number): void {
  siftDown(heap, siftUp(heap, position));
}

function siftUp(heap: HeapArray, from: number): number {
  let position = from;
  while (position > 0) {
    const parent = (position - 1) >> 1;
    if (!heap.isBefore(position, parent)) break;
    heap.swap(position, parent);
    position = parent;
  }
  return position;
}

function siftDown(heap: HeapArray, from: number): void {
  let position = from;
  for (;;) {
    const left = 2 * position + 1;
    if (left >= heap.size) return;
    const right = left + 1;
    const child = right < heap.size && heap.isBefore(right, left) ? right : left;
    if (!heap.isBefore(child, position)) return;
    heap.swap(position, child);
    position = child;
  }
}

/** Items ordered by what they are. */
export class IndexedHeap<Item> implements HeapArray {
  readonly #items: Item[] = [];
  readonly #isItemBefore: (a: Item, b: Item) => boolean;
  readonly #slot: HeapSlot<Item>;

  constructor(isBefore: (a: Item, b: Item) => boolean, slot: HeapSlot<Item>) {
    this.#isItemBefore = isBefore;
    this.#slot = slot;
  }

  get size(): number {
    return this.#items.length;
  }

  get first(): Item | undefined {
    return this.#items[0];
  }

  /** In no particular order. */
  values(): IterableIterator<Item> {
    return this.#items.values();
  }

  has(item: Item): boolean {
    const position = this.#slot.get(item);
    return position >= 0 && this.#items[position] === item;
  }

  add(item: Item): void {
    const position = this.#items.length;
    this.#items.push(item);
    this.#slot.set(item, position);
    settle(this, position);
  }

  remove(item: Item): boolean {
    if (!this.has(item)) return false;
    const position = this.#slot.get(item);
    this.swap(position, this.#items.length - 1);
    this.#items.pop();
    if (position < this.#items.length) settle(this, position);
    return true;
  }

  /** To be called after something changed that the order depends on, for this item alone. */
  update(item: Item): void {
    settle(this, this.#slot.get(item));
  }

  isBefore(a: number, b: number): boolean {
    return this.#isItemBefore(this.#items[a] as Item, this.#items[b] as Item);
  }

  swap(a: number, b: number): void {
    const first = this.#items[a] as Item;
    const second = this.#items[b] as Item;
    this.#items[a] = second;
    this.#items[b] = first;
    this.#slot.set(second, a);
    this.#slot.set(first, b);
  }
}
