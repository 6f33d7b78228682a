/**
 * Tasks that wait for a worker: strict priority classes, oldest first inside a class.
 *
 * Within a class, tasks wait in groups (one per model): when no worker can take the head of one group, the other groups go on. Every
 * operation on a task is O(1); finding the next one is O(groups).
 */

export interface Waiting {
  /** 0 is the most urgent. */
  readonly classIndex: number;
  readonly group: string;
}

/** A place in the queue, held by whoever pushed the item; needed to take it out again. */
export interface Ticket<Item> {
  readonly item: Item;
  readonly classIndex: number;
  readonly group: string;
}

interface Node<Item> extends Ticket<Item> {
  readonly order: number;
  previous: Node<Item> | undefined;
  next: Node<Item> | undefined;
  isQueued: boolean;
}

interface Group<Item> {
  first: Node<Item> | undefined;
  last: Node<Item> | undefined;
}

export class ReadyQueue<Item> {
  readonly #classes: Map<string, Group<Item>>[];
  #size = 0;
  /** Rises for items at the back, falls for items at the front. */
  #backOrder = 0;
  #frontOrder = 0;

  constructor(classCount: number) {
    this.#classes = Array.from({ length: classCount }, () => new Map());
  }

  get size(): number {
    return this.#size;
  }

  pushBack(item: Item, { classIndex, group }: Waiting): Ticket<Item> {
    this.#backOrder += 1;
    const node = this.#node(item, classIndex, group, this.#backOrder);
    const list = this.#group(node);
    node.previous = list.last;
    if (list.last === undefined) list.first = node;
    else list.last.next = node;
    list.last = node;
    return node;
  }

  /** For work that was taken and came back: before everything else of its class. */
  pushFront(item: Item, { classIndex, group }: Waiting): Ticket<Item> {
    this.#frontOrder -= 1;
    const node = this.#node(item, classIndex, group, this.#frontOrder);
    const list = this.#group(node);
    node.next = list.first;
    if (list.first === undefined) list.last = node;
    else list.first.previous = node;
    list.first = node;
    return node;
  }

  /** @returns whether it was still waiting. */
  remove(ticket: Ticket<Item>): boolean {
    const node = ticket as Node<Item>;
    if (!node.isQueued) return false;
    const groups = this.#classes[node.classIndex];
    const list = groups?.get(node.group);
    if (groups === undefined || list === undefined) return false;
    if (node.previous === undefined) list.first = node.next;
    else node.previous.next = node.next;
    if (node.next === undefined) list.last = node.previous;
    else node.next.previous = node.previous;
    if (list.first === undefined) groups.delete(node.group);
    node.isQueued = false;
    this.#size -= 1;
    return true;
  }

  /**
   * Offers the heads of all groups, most urgent class and oldest first, until `choose` answers; takes that item out.
   *
   * @param choose `undefined` means that nobody can take this item now.
   */
  takeFirst<Choice>(choose: (item: Item) => Choice | undefined): { item: Item; choice: Choice } | undefined {
    for (const groups of this.#classes) {
      for (const head of headsInOrder(groups)) {
        const choice = choose(head.item);
        if (choice === undefined) continue;
        this.remove(head);
        return { item: head.item, choice };
      }
    }
    return undefined;
  }

  /** How many wait before this one in its own class and in more urgent ones. O(n): for people who ask, not for the hot path. */
  positionOf(ticket: Ticket<Item>): number {
    let position = 0;
    for (const groups of this.#classes.slice(0, ticket.classIndex + 1)) {
      for (const { first } of groups.values()) {
        for (let node = first; node !== undefined; node = node.next) {
          if (node.classIndex < ticket.classIndex || node.order < (ticket as Node<Item>).order) position += 1;
        }
      }
    }
    return position;
  }

  #node(item: Item, classIndex: number, group: string, order: number): Node<Item> {
    this.#size += 1;
    return { item, classIndex, group, order, previous: undefined, next: undefined, isQueued: true };
  }

  #group(node: Node<Item>): Group<Item> {
    const groups = this.#classes[node.classIndex];
    if (groups === undefined) throw new RangeError(`There is no class ${node.classIndex}.`);
    let group = groups.get(node.group);
    if (group === undefined) {
      group = { first: undefined, last: undefined };
      groups.set(node.group, group);
    }
    return group;
  }
}

function headsInOrder<Item>(groups: ReadonlyMap<string, Group<Item>>): Node<Item>[] {
  const heads: Node<Item>[] = [];
  for (const { first } of groups.values()) if (first !== undefined) heads.push(first);
  return heads.length < 2 ? heads : heads.sort((a, b) => a.order - b.order);
}
