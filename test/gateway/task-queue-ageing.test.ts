import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  AGE_LIMITS,
  CRITICAL,
  GROUPS,
  HIGH,
  Item,
  LOW,
  NORMAL,
  newQueue,
  OWNERS,
  pass,
  someItem,
} from "./task-queue-fixture.ts";

/** Most items of other classes between two of a class that can be placed all the time. */
const AGE_BOUNDS = [Number.POSITIVE_INFINITY, 6, 9, 16];

test("a model whose workers are free does not use up the turns by age of one whose workers are fought over", () => {
  const queue = newQueue();
  const starving = new Item(LOW, "key", "contended", "starving");
  queue.pushBack(starving);
  for (let i = 0; i < 100 && queue.isQueued(starving); i += 1) {
    queue.pushBack(new Item(CRITICAL, "key", "contended"));
    pass(queue, { slots: 1, canPlace: ({ group }) => group === "contended" });
    queue.pushBack(new Item(LOW, "other", "free"));
    pass(queue, { slots: 1, canPlace: ({ group }) => group === "free" });
  }
  assert.equal(queue.isQueued(starving), false);
});

const contention = fc.array(
  fc.record({
    arriving: fc.array(someItem, { maxLength: 6 }),
    slots: fc.integer({ min: 1, max: 3 }),
    blocked: fc.constantFrom(undefined, undefined, ...GROUPS),
  }),
  { maxLength: 120, size: "max" },
);

test("while a group can be served, its class is passed over no more often than the bound says", () => {
  fc.assert(
    fc.property(contention, (steps) => {
      const queue = newQueue();
      const waiting = new Set<Item>();
      /** Class and group → how many of other classes were taken since the class was served or the group could be. */
      const passedOver = new Map<string, { readonly classIndex: number; count: number }>();
      for (const { arriving, slots, blocked } of steps) {
        for (const make of arriving) {
          const item = make();
          queue.pushBack(item);
          waiting.add(item);
        }
        for (const item of pass(queue, { slots, canPlace: ({ group }) => group !== blocked })) {
          for (const { classIndex, group } of waiting) {
            const key = `${classIndex} ${group}`;
            if (group === blocked || classIndex === item.classIndex) passedOver.delete(key);
            else if (!passedOver.has(key)) passedOver.set(key, { classIndex, count: 0 });
          }
          waiting.delete(item);
          for (const entry of passedOver.values()) {
            entry.count += 1;
            assert.ok(entry.count <= (AGE_BOUNDS[entry.classIndex] as number));
          }
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("while there is work of every class, each gets what its limit promises and no more", () => {
  const queue = newQueue();
  for (let i = 0; i < 4000; i += 1) queue.pushBack(new Item(i % 4, OWNERS[i % 3] ?? "", "m"));
  const taken = pass(queue, { slots: 1000 }).map(({ classIndex }) => classIndex);
  for (const classIndex of [HIGH, NORMAL, LOW]) {
    const places = [-1, ...taken.keys()].filter((i) => i < 0 || taken[i] === classIndex);
    const between = places.slice(1).map((place, i) => place - (places[i] as number) - 1);
    assert.equal(Math.min(...between), AGE_LIMITS[classIndex]);
    assert.ok(Math.max(...between) <= (AGE_BOUNDS[classIndex] as number), `${Math.max(...between)}`);
  }
  for (let n = 1; n <= taken.length; n += 1) {
    assert.ok(taken.slice(0, n).filter((classIndex) => classIndex === CRITICAL).length > n / 2);
  }
});

test("while CRITICAL work can be placed, it has more than half of any 13 takes in a row and more", () => {
  fc.assert(
    fc.property(contention, (steps) => {
      const queue = newQueue();
      const taken: Item[] = [];
      for (const { arriving, slots } of steps) {
        for (const make of arriving) queue.pushBack(make());
        while (queue.countOfClass(CRITICAL) < slots) queue.pushBack(new Item(CRITICAL, "x", "a"));
        taken.push(...pass(queue, { slots }));
      }
      const urgentBefore = [0];
      for (const { classIndex } of taken) {
        urgentBefore.push((urgentBefore.at(-1) as number) + (classIndex === CRITICAL ? 1 : 0));
      }
      for (let from = 0; from < taken.length; from += 1) {
        for (let to = from + 13; to <= taken.length; to += 1) {
          const urgent = (urgentBefore[to] as number) - (urgentBefore[from] as number);
          assert.ok(urgent > (to - from) / 2, `${urgent} of ${to - from}`);
        }
      }
    }),
    { numRuns: 200 },
  );
});
