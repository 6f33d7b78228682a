import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MAX_REFUSED_PER_PASS } from "../../gateway/queue/returned-items.ts";
import {
  AGE_LIMITS,
  CRITICAL,
  GROUPS,
  HIGH,
  Item,
  LOW,
  NORMAL,
  namesOf,
  newQueue,
  type PassOptions,
  pass,
  someItem,
} from "./task-queue-fixture.ts";
import { ModelQueue } from "./task-queue-model.ts";

test("the most urgent class goes first, the oldest first inside a class", () => {
  const queue = newQueue();
  queue.pushBack(new Item(LOW, "key", "m", "low"));
  queue.pushBack(new Item(NORMAL, "key", "m", "first normal"));
  queue.pushBack(new Item(NORMAL, "key", "other", "second normal"));
  queue.pushBack(new Item(NORMAL, "key", "m", "third normal"));
  queue.pushBack(new Item(CRITICAL, "key", "m", "urgent"));
  assert.deepEqual(namesOf(pass(queue)), ["urgent", "first normal", "second normal", "third normal", "low"]);
  assert.equal(queue.size, 0);
});

test("what came back goes before the rest of its class, the one that was first queued first", () => {
  const queue = newQueue();
  const early = new Item(NORMAL, "key", "m", "early");
  const late = new Item(NORMAL, "key", "other", "late");
  queue.pushBack(early);
  queue.pushBack(late);
  pass(queue);
  queue.pushBack(new Item(NORMAL, "key", "m", "new"));
  queue.pushBack(new Item(HIGH, "key", "m", "high"));
  queue.pushFront(late);
  queue.pushFront(early);
  assert.deepEqual(namesOf(pass(queue)), ["high", "early", "late", "new"]);
});

test("a group that nobody can serve does not hold up the others", () => {
  const queue = newQueue();
  const stuck = new Item(NORMAL, "key", "rare", "stuck");
  queue.pushBack(stuck);
  queue.pushBack(new Item(NORMAL, "key", "common", "free"));
  assert.deepEqual(namesOf(pass(queue, { canPlace: ({ group }) => group === "common" })), ["free"]);
  assert.equal(queue.isQueued(stuck), true);
  assert.deepEqual(namesOf(pass(queue)), ["stuck"]);
});

test("a hundred thousand tasks of one key delay the first of another by one", () => {
  const queue = newQueue();
  for (let i = 0; i < 100_000; i += 1)
    queue.pushBack(new Item(NORMAL, "greedy", i % 2 === 0 ? "m" : "other"));
  const modest = new Item(NORMAL, "modest", "m", "modest");
  queue.pushBack(modest);
  assert.equal(queue.positionOf(modest), 1);
  assert.deepEqual(namesOf(pass(queue, { slots: 2 })), ["", "modest"]);
});

test("keys take turns, and one whose groups are all blocked keeps its turn", () => {
  const queue = newQueue();
  for (const name of ["a1", "a2", "a3", "b1", "b2", "c1"]) {
    queue.pushBack(new Item(NORMAL, name.slice(0, 1), name.startsWith("b") ? "rare" : "m", name));
  }
  assert.deepEqual(namesOf(pass(queue, { slots: 2, canPlace: ({ group }) => group === "m" })), ["a1", "c1"]);
  assert.deepEqual(namesOf(pass(queue)), ["b1", "a2", "b2", "a3"]);
});

test("a pass in which nothing can be placed asks once for each group of a class, however many wait", () => {
  const queue = newQueue();
  for (let i = 0; i < 30_000; i += 1) queue.pushBack(new Item(i % 4, `key ${i % 1000}`, `m${i % 5}`));
  for (let times = 0; times < 2; times += 1) {
    const asked: string[] = [];
    queue.place(
      ({ classIndex, group }) => void asked.push(`${classIndex} ${group}`),
      () => assert.fail("nothing can be placed"),
    );
    assert.equal(asked.length, 20);
    assert.equal(new Set(asked).size, 20);
  }
});

test("each task that came back is offered for itself, some in each pass, until all have been", () => {
  const queue = newQueue();
  const count = 2 * MAX_REFUSED_PER_PASS + 5;
  for (let i = 0; i < count; i += 1) queue.pushFront(new Item(NORMAL, "key", "m", `${i}`));
  const asked: Item[] = [];
  const refuse = ({ canPlace = () => false }: PassOptions = {}): Item[] => {
    asked.length = 0;
    return pass(queue, {
      canPlace(item) {
        asked.push(item);
        return canPlace(item);
      },
    });
  };
  const numbers = (from: number, to: number): string[] =>
    Array.from({ length: to - from }, (_, i) => `${from + i}`);
  refuse();
  assert.deepEqual(namesOf(asked), numbers(0, MAX_REFUSED_PER_PASS));
  refuse();
  assert.deepEqual(namesOf(asked), numbers(MAX_REFUSED_PER_PASS, 2 * MAX_REFUSED_PER_PASS));
  const last = `${count - 1}`;
  assert.deepEqual(namesOf(refuse({ canPlace: ({ name }) => name === last })), [last]);
  const rest = [...numbers(2 * MAX_REFUSED_PER_PASS, count), ...numbers(0, MAX_REFUSED_PER_PASS - 4)];
  assert.deepEqual(namesOf(asked), rest);
});

test("what is taken may push and remove others", () => {
  const queue = newQueue();
  const doomed = new Item(NORMAL, "key", "m", "doomed");
  const refused = new Item(NORMAL, "key", "rare", "refused");
  const follower = new Item(NORMAL, "key", "m", "follower");
  queue.pushBack(new Item(NORMAL, "key", "m", "first"));
  queue.pushFront(refused);
  queue.pushBack(doomed);
  const taken: string[] = [];
  queue.place(
    ({ group }) => (group === "m" ? true : undefined),
    (item) => {
      taken.push(item.name);
      if (item.name !== "first") return;
      assert.equal(queue.isQueued(item), false);
      assert.equal(queue.remove(doomed), true);
      assert.equal(queue.remove(refused), true);
      queue.pushBack(follower);
    },
  );
  assert.deepEqual(taken, ["first", "follower"]);
  assert.equal(queue.size, 0);
  assert.deepEqual(pass(queue), []);
});

test("a pass that throws leaves everything else where it was", () => {
  const queue = newQueue();
  queue.pushBack(new Item(NORMAL, "key", "rare", "blocked"));
  queue.pushFront(new Item(NORMAL, "key", "rare", "refused"));
  queue.pushBack(new Item(LOW, "key", "m", "failing"));
  const choose = ({ group }: Item): true | undefined => (group === "rare" ? undefined : true);
  assert.throws(
    () =>
      queue.place(choose, () => {
        throw new Error("it cannot be sent");
      }),
    /it cannot be sent/,
  );
  assert.deepEqual(namesOf(pass(queue)), ["refused", "blocked"]);
});

test("a task is in the queue once, and in a class that there is", () => {
  const queue = newQueue();
  const item = new Item(NORMAL, "key", "m");
  assert.equal(queue.remove(item), false);
  queue.pushBack(item);
  assert.throws(() => queue.pushFront(item), /already/);
  assert.throws(() => queue.pushBack(new Item(4, "key", "m")), RangeError);
  assert.equal(queue.size, 1);
  assert.equal(queue.remove(item), true);
  assert.equal(queue.remove(item), false);
  assert.equal(queue.positionOf(item), 0);
});

test("a task that was taken can wait at the back again, and leave it", () => {
  const queue = newQueue();
  const first = new Item(NORMAL, "key", "m", "first");
  queue.pushBack(first);
  queue.pushBack(new Item(NORMAL, "key", "m", "second"));
  assert.deepEqual(namesOf(pass(queue, { slots: 1 })), ["first"]);
  queue.pushBack(first);
  queue.remove(first);
  queue.pushBack(new Item(NORMAL, "key", "m", "third"));
  assert.deepEqual(namesOf(pass(queue)), ["second", "third"]);
});

test("the depth and the oldest task of a group are known", () => {
  const queue = newQueue();
  const oldest = new Item(LOW, "key", "m", "oldest");
  const returned = new Item(HIGH, "key", "m", "returned");
  queue.pushBack(oldest);
  queue.pushBack(returned);
  queue.pushBack(new Item(HIGH, "other", "m"));
  queue.pushBack(new Item(HIGH, "key", "rare"));
  pass(queue, { slots: 1 });
  queue.pushFront(returned);
  assert.equal(queue.countOf("m"), 3);
  assert.equal(queue.countOfClass(HIGH), 3);
  assert.equal(queue.oldestOf("m"), oldest);
  queue.remove(oldest);
  assert.equal(queue.oldestOf("m"), returned);
  assert.equal(queue.oldestOf("unknown"), undefined);
  assert.equal(queue.countOf("unknown"), 0);
});

type End = "back" | "front";
type Maker = (name: string) => Item;
type Command =
  | { readonly kind: "push"; readonly makers: readonly Maker[]; readonly end: End }
  | { readonly kind: "again"; readonly index: number; readonly end: End }
  | { readonly kind: "remove"; readonly index: number }
  | { readonly kind: "place"; readonly slots: readonly number[]; readonly remainder: number };

const end = fc.constantFrom<End>("back", "front");
const makers = fc.oneof(
  { weight: 8, arbitrary: someItem.map((make) => [make]) },
  { weight: 1, arbitrary: fc.array(someItem, { maxLength: 45, size: "max" }) },
  {
    weight: 1,
    arbitrary: fc.tuple(someItem, fc.nat(45)).map(([make, count]) => Array<Maker>(count).fill(make)),
  },
);
const index = fc.nat(60);
const slots = fc.array(fc.nat(3), { minLength: GROUPS.length, maxLength: GROUPS.length });
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant<"push">("push"), makers, end }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant<"again">("again"), index, end }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant<"remove">("remove"), index }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant<"place">("place"), slots, remainder: fc.nat(3) }) },
);

/** The queue and its model, which are told the same. */
class Pair {
  readonly #queue = newQueue();
  readonly #model = new ModelQueue(AGE_LIMITS, MAX_REFUSED_PER_PASS);
  readonly #cameBack = new Set<Item>();
  readonly #taken: Item[] = [];
  #itemCount = 0;

  run(step: Command): void {
    if (step.kind === "push") for (const make of step.makers) this.#pushNew(make, step.end);
    else if (step.kind === "again") this.#pushAgain(step.index, step.end);
    else if (step.kind === "remove") this.#remove(step.index);
    else this.#place(step.slots, step.remainder);
    this.#compare();
  }

  #pushNew(make: Maker, where: End): void {
    this.#itemCount += 1;
    this.#push(make(`${this.#itemCount}`), where);
  }

  #pushAgain(index: number, where: End): void {
    const [item] = this.#taken.splice(index % (this.#taken.length + 1), 1);
    if (item !== undefined) this.#push(item, where);
  }

  #push(item: Item, where: End): void {
    if (where === "front") {
      this.#cameBack.add(item);
      this.#queue.pushFront(item);
    } else {
      this.#cameBack.delete(item);
      this.#queue.pushBack(item);
    }
    this.#model.push(item, where);
  }

  #remove(index: number): void {
    const item = [...this.#model.items, ...this.#taken][index];
    if (item !== undefined) assert.equal(this.#queue.remove(item), this.#model.remove(item));
  }

  #place(slots: readonly number[], remainder: number): void {
    const asked: Item[] = [];
    const askedByModel: Item[] = [];
    const placed = pass(this.#queue, { canPlace: this.#workers(slots, remainder, asked) });
    const expected = this.#model.place(this.#workers(slots, remainder, askedByModel));
    assert.deepEqual(namesOf(placed), namesOf(expected));
    assert.deepEqual(namesOf(asked), namesOf(askedByModel));
    this.#taken.push(...placed);
  }

  /** So many free slots for each group; a quarter of what came back has to avoid these workers. */
  #workers(slots: readonly number[], remainder: number, asked: Item[]): (item: Item) => boolean {
    const free = new Map(GROUPS.map((group, i) => [group as string, slots[i] ?? 0]));
    return (item) => {
      asked.push(item);
      const left = free.get(item.group) ?? 0;
      if (left === 0 || (this.#cameBack.has(item) && Number(item.name) % 4 === remainder)) return false;
      free.set(item.group, left - 1);
      return true;
    };
  }

  #compare(): void {
    const { items } = this.#model;
    assert.equal(this.#queue.size, items.length);
    for (const group of GROUPS) {
      assert.equal(this.#queue.countOf(group), items.filter((item) => item.group === group).length);
    }
    const inLine = items.filter((item) => !this.#cameBack.has(item));
    for (const item of [inLine[0], inLine.at(-1)]) {
      if (item !== undefined) assert.ok(this.#queue.positionOf(item) >= this.#model.positionOf(item));
    }
  }
}

test("it does what the rules say under any sequence of operations", () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60, size: "max" }), (commands) => {
      const pair = new Pair();
      for (const step of commands) pair.run(step);
    }),
    { numRuns: 1000 },
  );
});

test("while everything can be placed, a position is how many are taken before", () => {
  fc.assert(
    fc.property(
      fc.array(someItem, { minLength: 1, maxLength: 40, size: "max" }),
      fc.nat(20),
      (makers, slots) => {
        const queue = newQueue();
        const line = makers.map((make) => make()).map(({ owner, group }) => new Item(CRITICAL, owner, group));
        for (const item of line) queue.pushBack(item);
        pass(queue, { slots });
        const waiting = line.filter((item) => queue.isQueued(item));
        const positions = new Map(waiting.map((item) => [item, queue.positionOf(item)]));
        for (const [i, item] of pass(queue).entries()) assert.equal(positions.get(item), i);
      },
    ),
    { numRuns: 300 },
  );
});

test("what was taken past a blocked group and what stands behind do not count as ahead", () => {
  const queue = newQueue();
  queue.pushBack(new Item(NORMAL, "key", "rare"));
  for (let i = 0; i < 100; i += 1) queue.pushBack(new Item(NORMAL, "key", "m"));
  const item = new Item(NORMAL, "key", "m");
  queue.pushBack(item);
  for (let i = 0; i < 100; i += 1) queue.pushBack(new Item(NORMAL, "key", "m"));
  pass(queue, { slots: 99, canPlace: ({ group }) => group === "m" });
  assert.equal(queue.positionOf(item), 2);
});

test("a position counts what is more urgent and what came back", () => {
  const queue = newQueue();
  const item = new Item(NORMAL, "key", "m");
  const returned = [new Item(NORMAL, "key", "m"), new Item(NORMAL, "key", "m")];
  queue.pushBack(new Item(LOW, "key", "m"));
  queue.pushBack(item);
  queue.pushBack(new Item(HIGH, "key", "rare"));
  for (const each of returned) queue.pushFront(each);
  assert.equal(queue.positionOf(item), 3);
  for (const each of returned) assert.equal(queue.positionOf(each), 2, "at most");
});
