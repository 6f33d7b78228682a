import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "@legacygpu/shared/clock";
import fc from "fast-check";
import { TimeHeap } from "../../gateway/queue/time-heap.ts";
import { ManualClock } from "../support/manual-clock.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

class Item {
  readonly name: string;
  slot = -1;

  constructor(name: string) {
    this.name = name;
  }
}

function newHeap(clock: Clock, onDue: (item: Item, heap: TimeHeap<Item>) => void): TimeHeap<Item> {
  const heap: TimeHeap<Item> = new TimeHeap<Item>({
    clock,
    slot: {
      get: (item) => item.slot,
      set: (item, position) => {
        item.slot = position;
      },
    },
    onDue: (item) => onDue(item, heap),
  });
  return heap;
}

/** A heap that writes down what was due. */
function recorder(): { clock: ManualClock; heap: TimeHeap<Item>; due: string[] } {
  const clock = new ManualClock();
  const due: string[] = [];
  return { clock, heap: newHeap(clock, ({ name }) => due.push(name)), due };
}

test("items are due in the order of their times, none too early", () => {
  const { clock, heap, due } = recorder();
  for (const [name, inMs] of [
    ["c", 300],
    ["a", 100],
    ["b", 200],
  ] as const)
    heap.add(new Item(name), clock.now() + inMs);
  clock.advance(99);
  assert.deepEqual(due, []);
  clock.advance(1);
  assert.deepEqual(due, ["a"]);
  clock.advance(1000);
  assert.deepEqual(due, ["a", "b", "c"]);
});

test("a new time replaces the old one, and the time of what is held is known", () => {
  const { clock, heap, due } = recorder();
  const [item, other] = [new Item("item"), new Item("other")];
  heap.add(item, clock.now() + 100);
  heap.add(item, clock.now() + 300);
  heap.add(other, clock.now() + 200);
  assert.equal(heap.size, 2);
  assert.equal(heap.timeOf(item), clock.now() + 300);
  clock.advance(200);
  assert.deepEqual(due, ["other"]);
  heap.add(item, clock.now() + 1);
  clock.advance(1);
  assert.deepEqual(due, ["other", "item"]);
  assert.equal(heap.timeOf(item), undefined);
});

test("what is removed is never due", () => {
  const { clock, heap, due } = recorder();
  const item = new Item("item");
  assert.equal(heap.remove(item), false);
  heap.add(item, clock.now() + 100);
  assert.equal(heap.remove(item), true);
  assert.equal(heap.remove(item), false);
  clock.advance(HOUR_MS);
  assert.deepEqual(due, []);
});

test("a time that has passed is due in the next turn, not in the call", () => {
  const { clock, heap, due } = recorder();
  heap.add(new Item("late"), clock.now() - HOUR_MS);
  assert.deepEqual(due, []);
  clock.advance(0);
  assert.deepEqual(due, ["late"]);
});

test("there is one timer for all, and none when nothing is held", () => {
  const { clock, heap } = recorder();
  const items = Array.from({ length: 100 }, (_, i) => new Item(`${i}`));
  for (const [i, item] of items.entries()) heap.add(item, clock.now() + HOUR_MS - i);
  assert.equal(clock.pendingCount, 1);
  for (const item of items) heap.remove(item);
  assert.equal(clock.pendingCount, 0);
  heap.add(new Item("last"), clock.now() + 10);
  clock.advance(10);
  assert.equal(heap.size, 0);
  assert.equal(clock.pendingCount, 0);
});

test("the timer is set anew only for an earlier item, and once after a burst", () => {
  const timers = new ManualClock();
  let timersSet = 0;
  const clock: Clock = {
    now: () => timers.now(),
    monotonic: () => timers.monotonic(),
    after(delayMs, callback) {
      timersSet += 1;
      return timers.after(delayMs, callback);
    },
  };
  const heap = newHeap(clock, ({ name }, self) => {
    if (name !== "again") self.add(new Item("again"), clock.now() + 500 - self.size);
  });
  for (let i = 0; i < 10; i += 1) heap.add(new Item(`${i}`), clock.now() + 100 + i);
  assert.equal(timersSet, 1);
  for (let i = 0; i < 10; i += 1) heap.add(new Item(`late ${i}`), clock.now() - i);
  assert.equal(timersSet, 2);
  timers.advance(0);
  assert.equal(timersSet, 3);
});

test("a closed heap sets no timer and holds nothing", () => {
  const { clock, heap, due } = recorder();
  const item = new Item("item");
  heap.add(item, clock.now() + 10);
  heap.close();
  assert.equal(clock.pendingCount, 0);
  assert.equal(heap.remove(item), false);
  heap.add(item, clock.now() + 10);
  assert.equal(heap.size, 0);
  clock.advance(HOUR_MS);
  assert.deepEqual(due, []);
});

test("a heap that is closed while items are due stops there", () => {
  const clock = new ManualClock();
  const due: string[] = [];
  const heap = newHeap(clock, ({ name }, self) => {
    due.push(name);
    self.close();
  });
  heap.add(new Item("first"), clock.now() + 1);
  heap.add(new Item("second"), clock.now() + 2);
  clock.advance(HOUR_MS);
  assert.deepEqual(due, ["first"]);
  assert.equal(clock.pendingCount, 0);
});

test("an item that fails when it is due holds up no other", () => {
  const clock = new ManualClock();
  const due: string[] = [];
  const heap = newHeap(clock, ({ name }) => {
    due.push(name);
    if (name === "failing") throw new Error("it failed");
  });
  heap.add(new Item("failing"), clock.now() + 1);
  heap.add(new Item("other"), clock.now() + 2);
  assert.throws(() => clock.advance(1), /it failed/);
  clock.advance(1);
  assert.deepEqual(due, ["failing", "other"]);
});

test("a burst leaves turns of the event loop to others, and is worked off in order", () => {
  const { clock, heap, due } = recorder();
  const count = 5000;
  for (let i = 0; i < count; i += 1) heap.add(new Item(`${i}`), clock.now() - i);
  let dueBefore = 0;
  clock.after(0, () => {
    dueBefore = due.length;
  });
  clock.advance(0);
  assert.ok(dueBefore > 0 && dueBefore < count, `${dueBefore}`);
  assert.equal(due.length, count);
  assert.ok(due.every((name, i) => Number(name) === count - 1 - i));
});

test("a wall clock that is set forward is noticed within a minute, one that is set back makes nothing due early", () => {
  const timers = new ManualClock();
  let skewMs = 0;
  const clock: Clock = {
    now: () => timers.now() + skewMs,
    monotonic: () => timers.monotonic(),
    after: (delayMs, callback) => timers.after(delayMs, callback),
  };
  const due: string[] = [];
  const heap = newHeap(clock, ({ name }) => due.push(name));
  heap.add(new Item("soon"), clock.now() + HOUR_MS);
  heap.add(new Item("later"), clock.now() + 2 * HOUR_MS);
  skewMs = HOUR_MS;
  timers.advance(MINUTE_MS);
  assert.deepEqual(due, ["soon"]);
  skewMs = -HOUR_MS;
  timers.advance(2 * HOUR_MS);
  assert.deepEqual(due, ["soon"]);
  timers.advance(HOUR_MS);
  assert.deepEqual(due, ["soon", "later"]);
});

test("a time that is no number is refused, the end of time is not", () => {
  const { clock, heap, due } = recorder();
  assert.throws(() => heap.add(new Item("broken"), Number.NaN), RangeError);
  heap.add(new Item("never"), Number.POSITIVE_INFINITY);
  clock.advance(HOUR_MS);
  assert.deepEqual(due, []);
  assert.equal(heap.size, 1);
});

type Command =
  | { readonly kind: "add"; readonly index: number; readonly inMs: number }
  | { readonly kind: "remove"; readonly index: number }
  | { readonly kind: "advance"; readonly ms: number };

const ITEM_COUNT = 40;
const index = fc.nat(ITEM_COUNT - 1);
const change: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant<"add">("add"), index, inMs: fc.integer({ min: -5, max: 100 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant<"remove">("remove"), index }) },
);
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 5, arbitrary: change },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant<"advance">("advance"), ms: fc.nat(80) }) },
);

test("it behaves like a list that is searched for the earliest, also when what is due adds and removes others", () => {
  fc.assert(
    fc.property(
      fc.array(command, { maxLength: 120, size: "max" }),
      fc.array(change, { maxLength: 60, size: "max" }),
      (commands, changesWhenDue) => {
        const clock = new ManualClock();
        const items = Array.from({ length: ITEM_COUNT }, (_, i) => new Item(`${i}`));
        const model = new Map<Item, number>();
        const toCome = [...changesWhenDue];
        const heap = newHeap(clock, (item) => {
          const atMs = model.get(item);
          assert.ok(atMs !== undefined && atMs === Math.min(...model.values()) && atMs <= clock.now());
          model.delete(item);
          const next = toCome.pop();
          if (next !== undefined) run(next);
        });
        const run = (step: Command): void => {
          if (step.kind === "advance") clock.advance(step.ms);
          else {
            const item = items[step.index] as Item;
            if (step.kind === "remove") assert.equal(heap.remove(item), model.delete(item));
            else {
              heap.add(item, clock.now() + step.inMs);
              model.set(item, clock.now() + step.inMs);
            }
          }
        };
        for (const step of commands) {
          run(step);
          if (step.kind === "advance") assert.ok(Math.min(...model.values()) > clock.now());
          assert.equal(heap.size, model.size);
          assert.equal(clock.pendingCount, model.size === 0 ? 0 : 1);
          for (const item of items) assert.equal(heap.timeOf(item), model.get(item));
        }
      },
    ),
    { numRuns: 1000 },
  );
});
