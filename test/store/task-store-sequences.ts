/** Random sequences of operations on a store, compared with a plain list that is searched from end to end. */

import assert from "node:assert/strict";
import type { TaskId } from "@legacygpu/shared/ids";
import { isFinal, TASK_STATES, type TaskState } from "@legacygpu/shared/task";
import fc from "fast-check";
import type { TaskQuery } from "../../gateway/store/task-store.ts";
import type { TaskRecord } from "../../gateway/tasks/record.ts";
import { endTask, sampleTask, startTask } from "./sample-tasks.ts";
import type { Subject } from "./task-store-contract.ts";

const FINAL: readonly TaskState[] = TASK_STATES.filter(isFinal);
const OWNERS = ["alice", "alicia", "bob"] as const;
const MODELS = ["digits", "faces"] as const;

interface Filter {
  readonly ownerKeyId: string | undefined;
  readonly state: TaskState | undefined;
  readonly model: string | undefined;
  readonly limit: number;
  /** Which task's id is the cursor; beyond the last: none. */
  readonly cursor: number;
}

type Step =
  | { readonly kind: "insert"; readonly tasks: readonly { ownerKeyId: string; modelName: string }[] }
  | { readonly kind: "start" | "get"; readonly index: number }
  | { readonly kind: "end"; readonly index: number; readonly to: TaskState }
  | ({ readonly kind: "list" } & Filter)
  | { readonly kind: "reopen" };

const index = fc.nat(12);
const maybe = <T>(values: readonly T[]): fc.Arbitrary<T | undefined> => fc.constantFrom(undefined, ...values);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant<"insert">("insert"),
    tasks: fc.array(
      fc.record({ ownerKeyId: fc.constantFrom(...OWNERS), modelName: fc.constantFrom(...MODELS) }),
      { minLength: 1, maxLength: 3 },
    ),
  }),
  fc.record({ kind: fc.constantFrom<"start" | "get">("start", "get"), index }),
  fc.record({ kind: fc.constant<"end">("end"), index, to: fc.constantFrom(...FINAL) }),
  fc.record({
    kind: fc.constant<"list">("list"),
    ownerKeyId: maybe(OWNERS),
    state: maybe(TASK_STATES),
    model: maybe(MODELS),
    limit: fc.integer({ min: 1, max: 5 }),
    cursor: index,
  }),
  { arbitrary: fc.record({ kind: fc.constant<"reopen">("reopen") }), weight: 1 },
);

/** What is expected of one task. */
interface Expected {
  readonly accepted: TaskRecord;
  /** The record that the store was given, or gave back after it was reopened: what the gateway works on. */
  working: TaskRecord;
}

/** Runs all sequences on one store: what earlier ones left there must not disturb later ones. */
export async function randomSequences(subject: Subject): Promise<void> {
  const known: Expected[] = [];
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      for (const each of steps) await run(subject, known, each);
      assert.deepEqual(
        subject.store.unfinished(),
        known.map(({ working }) => working).filter(({ state }) => !isFinal(state)),
      );
    }),
    { numRuns: 40, interruptAfterTimeLimit: 5000, markInterruptAsFailure: false },
  );
}

async function run(subject: Subject, known: Expected[], step: Step): Promise<void> {
  const { store } = subject;
  switch (step.kind) {
    case "insert": {
      const tasks = step.tasks.map(sampleTask);
      known.push(...tasks.map((working) => ({ accepted: structuredClone(working), working })));
      await Promise.all(tasks.map((task) => store.insert(task)));
      return;
    }
    case "start": {
      const task = recent(known, step.index)?.working;
      if (task?.state !== "PENDING") return;
      startTask(task);
      return store.update(task);
    }
    case "end": {
      const task = recent(known, step.index)?.working;
      if (task === undefined || isFinal(task.state)) return;
      return store.update(endTask(task, step.to));
    }
    case "get": {
      const task = recent(known, step.index)?.working;
      assert.deepEqual(await store.get(task?.id ?? ("task_" as TaskId)), task);
      return;
    }
    case "list": {
      const query = { ...step, before: recent(known, step.cursor)?.working.id };
      assert.deepEqual(await store.list(query), expectedList(known, query));
      return;
    }
    case "reopen":
      return reopen(subject, known);
  }
}

/** What had not ended is as it was accepted; the gateway goes on with the store's own records. */
async function reopen(subject: Subject, known: readonly Expected[]): Promise<void> {
  const before = subject.store;
  await subject.reopen();
  if (subject.store === before) return;
  const restored = new Map(subject.store.unfinished().map((task) => [task.id, task]));
  for (const each of known) {
    if (isFinal(each.working.state)) continue;
    assert.deepEqual(restored.get(each.accepted.id), each.accepted);
    each.working = restored.get(each.accepted.id) ?? each.working;
  }
}

/** Counted from the newest, so that short sequences meet their own tasks. */
const recent = (known: readonly Expected[], index: number): Expected | undefined => known.at(-1 - index);

function expectedList(
  known: readonly Expected[],
  { ownerKeyId, state, model, before, limit }: TaskQuery,
): TaskRecord[] {
  return known
    .map(({ working }) => working)
    .filter((task) => ownerKeyId === undefined || task.ownerKeyId === ownerKeyId)
    .filter((task) => state === undefined || task.state === state)
    .filter((task) => model === undefined || task.model.name === model)
    .filter((task) => before === undefined || task.id < before)
    .reverse()
    .slice(0, limit);
}
