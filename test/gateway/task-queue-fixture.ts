/** What the tests of the task queue have in common: items, and passes over them. */

import fc from "fast-check";
import { QueueItem, TaskQueue } from "../../gateway/queue/task-queue.ts";

export class Item extends QueueItem {
  readonly name: string;

  constructor(classIndex: number, owner: string, group: string, name = "") {
    super(classIndex, owner, group);
    this.name = name;
  }
}

export const CRITICAL = 0;
export const HIGH = 1;
export const NORMAL = 2;
export const LOW = 3;
export const AGE_LIMITS = [Number.POSITIVE_INFINITY, 4, 8, 16];

export const newQueue = (): TaskQueue<Item> => new TaskQueue(4);

export const GROUPS = ["a", "b", "c", "d", "e", "f", "g"] as const;
export const OWNERS = ["w", "x", "y", "z"] as const;
export const someItem = fc
  .record({ classIndex: fc.nat(3), owner: fc.constantFrom(...OWNERS), group: fc.constantFrom(...GROUPS) })
  .map(
    ({ classIndex, owner, group }) =>
      (name = "") =>
        new Item(classIndex, owner, group, name),
  );

export interface PassOptions {
  readonly slots?: number;
  readonly canPlace?: (item: Item) => boolean;
}

/** What one pass takes, when so many slots are free. */
export function pass(
  queue: TaskQueue<Item>,
  { slots = Number.POSITIVE_INFINITY, canPlace = () => true }: PassOptions = {},
): Item[] {
  const taken: Item[] = [];
  queue.place(
    (item) => (taken.length < slots && canPlace(item) ? true : undefined),
    (item) => taken.push(item),
  );
  return taken;
}

export const namesOf = (items: readonly Item[]): string[] => items.map(({ name }) => name);
