/** The rules of the task queue once more, on a plain array and with no regard to cost: what the real one is compared with. */

import type { Item } from "./task-queue-fixture.ts";

interface Waiting {
  readonly item: Item;
  readonly cameBack: boolean;
}

interface Pass {
  readonly canPlace: (item: Item) => boolean;
  readonly blockedGroups: Set<string>;
  readonly refused: Set<Item>;
}

const classKey = ({ classIndex }: Item): string => `${classIndex}`;
const groupKey = ({ classIndex, group }: Item): string => `${classIndex} ${group}`;

export class ModelQueue {
  readonly #ageLimits: readonly number[];
  readonly #maxRefused: number;
  /** In the order in which they were pushed. */
  #waiting: Waiting[] = [];
  readonly #firstQueued: Item[] = [];
  /** Of each class, in the order of their turns. */
  #owners: string[][];
  /** By class and by group of a class: how many of other classes went first. */
  readonly #passedOver = new Map<string, number>();
  /** Those that came back and let the others go first, since a pass gave up after them. */
  readonly #behind = new Set<Item>();

  constructor(ageLimits: readonly number[], maxRefused: number) {
    this.#ageLimits = ageLimits;
    this.#maxRefused = maxRefused;
    this.#owners = ageLimits.map(() => []);
  }

  get items(): Item[] {
    return this.#waiting.map(({ item }) => item);
  }

  push(item: Item, end: "back" | "front"): void {
    if (!this.#firstQueued.includes(item)) this.#firstQueued.push(item);
    this.#waiting.push({ item, cameBack: end === "front" });
    const owners = this.#ownersOf(item.classIndex);
    if (end === "back" && !owners.includes(item.owner)) owners.push(item.owner);
  }

  remove(item: Item): boolean {
    if (!this.items.includes(item)) return false;
    this.#waiting = this.#waiting.filter((waiting) => waiting.item !== item);
    this.#behind.delete(item);
    this.#owners = this.#owners.map((owners, classIndex) =>
      owners.filter((owner) => this.#line(classIndex).some((waiting) => waiting.owner === owner)),
    );
    const keys = this.#keysThatWait();
    for (const key of this.#passedOver.keys()) if (!keys.has(key)) this.#passedOver.delete(key);
    return true;
  }

  /** @returns what is taken in one pass, in order. */
  place(canPlace: (item: Item) => boolean): Item[] {
    const pass: Pass = { canPlace, blockedGroups: new Set(), refused: new Set() };
    const taken: Item[] = [];
    for (let item = this.#takeNext(pass); item !== undefined; item = this.#takeNext(pass)) taken.push(item);
    for (const classIndex of this.#ageLimits.keys()) {
      const refused = [...pass.refused].filter((item) => item.classIndex === classIndex);
      if (refused.length >= this.#maxRefused) for (const item of refused) this.#behind.add(item);
    }
    return taken;
  }

  /** How many go before it while everything can be placed, ageing left out. */
  positionOf(item: Item): number {
    const ahead = this.#waiting.filter(
      ({ item: { classIndex }, cameBack }) =>
        classIndex < item.classIndex || (cameBack && classIndex === item.classIndex),
    );
    let position = ahead.length;
    const line = this.#line(item.classIndex);
    const owners = [...this.#ownersOf(item.classIndex)];
    for (;;) {
      const owner = owners.shift() as string;
      owners.push(owner);
      const index = line.findIndex((other) => other.owner === owner);
      if (index < 0) continue;
      if (line[index] === item) return position;
      line.splice(index, 1);
      position += 1;
    }
  }

  #takeNext(pass: Pass): Item | undefined {
    const item = this.#findAged(pass) ?? this.#findUrgent(pass);
    if (item === undefined) return undefined;
    const isInLine = this.#line(item.classIndex).includes(item);
    const owners = this.#ownersOf(item.classIndex);
    if (isInLine) owners.push(...owners.splice(owners.indexOf(item.owner), 1));
    if (isInLine) this.#passedOver.delete(groupKey(item));
    this.remove(item);
    for (const key of this.#keysThatWait()) {
      if (key.split(" ")[0] !== classKey(item)) this.#passedOver.set(key, this.#passedOverOf(key) + 1);
    }
    return item;
  }

  #findAged(pass: Pass): Item | undefined {
    for (let classIndex = this.#ageLimits.length - 1; classIndex >= 0; classIndex -= 1) {
      const isDue = (key: string): boolean => this.#passedOverOf(key) >= (this.#ageLimits[classIndex] ?? 0);
      const item = isDue(`${classIndex}`) ? this.#findIn(classIndex, pass, isDue) : undefined;
      if (item === undefined) continue;
      this.#passedOver.delete(classKey(item));
      return item;
    }
    return undefined;
  }

  #findUrgent(pass: Pass): Item | undefined {
    for (const classIndex of this.#ageLimits.keys()) {
      const item = this.#findIn(classIndex, pass, () => true);
      if (item !== undefined) return item;
    }
    return undefined;
  }

  #findIn(classIndex: number, pass: Pass, isDue: (groupKey: string) => boolean): Item | undefined {
    for (let item = this.#nextBack(classIndex, pass); item; item = this.#nextBack(classIndex, pass)) {
      if (pass.canPlace(item)) return item;
      pass.refused.add(item);
    }
    for (const owner of this.#ownersOf(classIndex)) {
      for (const item of this.#line(classIndex)) {
        if (item.owner !== owner || pass.blockedGroups.has(groupKey(item)) || !isDue(groupKey(item)))
          continue;
        if (pass.canPlace(item)) return item;
        pass.blockedGroups.add(groupKey(item));
      }
    }
    return undefined;
  }

  /** The next of those that came back. */
  #nextBack(classIndex: number, { refused }: Pass): Item | undefined {
    const all = this.#waiting
      .filter(({ item, cameBack }) => cameBack && item.classIndex === classIndex)
      .map(({ item }) => item);
    if (all.filter((item) => refused.has(item)).length >= this.#maxRefused) return undefined;
    const open = this.#firstQueued.filter((item) => all.includes(item) && !refused.has(item));
    if (open.every((item) => this.#behind.has(item))) for (const item of open) this.#behind.delete(item);
    return open.find((item) => !this.#behind.has(item));
  }

  /** What waits in a class and did not come back. */
  #line(classIndex: number): Item[] {
    return this.#waiting
      .filter(({ item, cameBack }) => !cameBack && item.classIndex === classIndex)
      .map(({ item }) => item);
  }

  #keysThatWait(): Set<string> {
    const keys = this.#waiting.map(({ item }) => classKey(item));
    const inLine = this.#waiting.filter(({ cameBack }) => !cameBack);
    return new Set([...keys, ...inLine.map(({ item }) => groupKey(item))]);
  }

  #passedOverOf(key: string): number {
    return this.#passedOver.get(key) ?? 0;
  }

  #ownersOf(classIndex: number): string[] {
    return this.#owners[classIndex] as string[];
  }
}
