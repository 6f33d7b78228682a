import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ReadyQueue, type Ticket } from "../../gateway/queue/ready-queue.ts";

const take = <T>(queue: ReadyQueue<T>): T | undefined => queue.takeFirst((item) => item)?.item;

test("the most urgent class goes first, the oldest first inside a class", () => {
  const queue = new ReadyQueue<string>(3);
  queue.pushBack("late low", { classIndex: 2, group: "m" });
  queue.pushBack("first normal", { classIndex: 1, group: "m" });
  queue.pushBack("second normal", { classIndex: 1, group: "other" });
  queue.pushBack("urgent", { classIndex: 0, group: "m" });
  assert.deepEqual(
    [take(queue), take(queue), take(queue), take(queue)],
    ["urgent", "first normal", "second normal", "late low"],
  );
  assert.equal(take(queue), undefined);
});

test("what came back goes before everything of its class", () => {
  const queue = new ReadyQueue<string>(2);
  queue.pushBack("a", { classIndex: 1, group: "m" });
  queue.pushFront("again", { classIndex: 1, group: "m" });
  queue.pushFront("again, later", { classIndex: 1, group: "other" });
  assert.deepEqual([take(queue), take(queue), take(queue)], ["again, later", "again", "a"]);
});

test("a group whose head nobody can take does not hold up the others", () => {
  const queue = new ReadyQueue<string>(1);
  queue.pushBack("stuck", { classIndex: 0, group: "rare" });
  queue.pushBack("free", { classIndex: 0, group: "common" });
  assert.equal(queue.takeFirst((item) => (item === "free" ? item : undefined))?.item, "free");
  assert.equal(queue.size, 1);
});

interface Model {
  readonly id: number;
  readonly classIndex: number;
  readonly group: string;
  readonly order: number;
}

type Command =
  | {
      readonly kind: "push";
      readonly end: "back" | "front";
      readonly classIndex: number;
      readonly group: string;
    }
  | { readonly kind: "take"; readonly blocked: string }
  | { readonly kind: "remove"; readonly index: number };

const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({
    kind: fc.constant<"push">("push"),
    end: fc.constantFrom<"back" | "front">("back", "front"),
    classIndex: fc.nat(3),
    group: fc.constantFrom("a", "b", "c"),
  }),
  fc.record({ kind: fc.constant<"take">("take"), blocked: fc.constantFrom("", "a", "b") }),
  fc.record({ kind: fc.constant<"remove">("remove"), index: fc.nat(30) }),
);

test("it behaves like a sorted list under any sequence of operations", () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
      const queue = new ReadyQueue<number>(4);
      const tickets = new Map<number, Ticket<number>>();
      let model: Model[] = [];
      let nextId = 0;
      for (const step of commands) {
        if (step.kind === "push") {
          nextId += 1;
          const { classIndex, group } = step;
          const order = step.end === "back" ? nextId : -nextId;
          const push = step.end === "back" ? queue.pushBack.bind(queue) : queue.pushFront.bind(queue);
          tickets.set(nextId, push(nextId, { classIndex, group }));
          model.push({ id: nextId, classIndex, group, order });
          model.sort((x, y) => x.classIndex - y.classIndex || x.order - y.order);
        } else if (step.kind === "take") {
          const groupOf = (id: number): string | undefined => model.find((entry) => entry.id === id)?.group;
          const taken = queue.takeFirst((id) => (groupOf(id) === step.blocked ? undefined : true))?.item;
          const expected = model.find((entry) => entry.group !== step.blocked)?.id;
          assert.equal(taken, expected);
          model = model.filter((entry) => entry.id !== expected);
        } else {
          const id = [...tickets.keys()][step.index];
          const ticket = id === undefined ? undefined : tickets.get(id);
          if (ticket === undefined) continue;
          const position = model.findIndex((entry) => entry.id === id);
          if (position >= 0) assert.equal(queue.positionOf(ticket), position);
          assert.equal(queue.remove(ticket), position >= 0);
          model = model.filter((entry) => entry.id !== id);
        }
        assert.equal(queue.size, model.length);
      }
    }),
    { numRuns: 500 },
  );
});
