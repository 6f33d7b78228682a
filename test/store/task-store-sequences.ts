/** Random sequences of operations on a store, compared with plain lists that are searched from end to end. */

import assert from "node:assert/strict";
import type { TaskId } from "@legacygpu/shared/ids";
import { isFinal, TASK_STATES, type TaskState } from "@legacygpu/shared/task";
import fc from "fast-check";
import type { TaskQuery } from "../../gateway/store/task-store.ts";
import type { Subject } from "./contract-subject.ts";
import { PlainStore } from "./plain-store.ts";
import { sampleTask, startTask } from "./sample-tasks.ts";

const FINAL: readonly TaskState[] = TASK_STATES.filter(isFinal);
const OWNERS = ["alice", "alicia", "bob"] as const;
const MODELS = ["digits", "faces"] as const;
const TAGS = ["night", "day"] as const;
const SITES = ["lab", "berlin"] as const;
const BATCHES = ["b1", "b2"] as const;
const NOTES = ["a", "b", "c", "d"] as const;

interface Filter {
  readonly tenant: string | undefined;
  readonly state: TaskState | undefined;
  readonly model: string | undefined;
  readonly tag: string | undefined;
  readonly site: string | undefined;
  readonly batchId: string | undefined;
  readonly isDeadLetter: true | undefined;
  readonly limit: number;
  /** Which task's id is the cursor; beyond the last: none. */
  readonly cursor: number;
  /** Which task is being run at the moment, unknown to the store. */
  readonly running: number;
}

interface Asked {
  readonly tenant: string;
  readonly modelName: string;
  readonly tag: string | undefined;
  readonly batch: string | undefined;
}

type Step =
  | { readonly kind: "insert"; readonly tasks: readonly Asked[]; readonly isRelaxed: boolean }
  | { readonly kind: "start"; readonly index: number; readonly site: string }
  | { readonly kind: "look" | "again" | "remove"; readonly index: number }
  | { readonly kind: "end"; readonly index: number; readonly to: TaskState }
  | ({ readonly kind: "list" } & Filter)
  | { readonly kind: "put" | "drop"; readonly id: string; readonly expiresInMs: number | undefined }
  | { readonly kind: "notes"; readonly after: string | undefined; readonly order: "rising" | "falling" }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "reopen" };

const index = fc.nat(12);
const maybe = <T>(values: readonly T[]): fc.Arbitrary<T | undefined> =>
  fc.oneof({ arbitrary: fc.constant(undefined), weight: 2 }, fc.constantFrom(...values));
const asked = fc.record({
  tenant: fc.constantFrom(...OWNERS),
  modelName: fc.constantFrom(...MODELS),
  tag: maybe(TAGS),
  batch: maybe(BATCHES),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant<"insert">("insert"),
    tasks: fc.array(asked, { minLength: 1, maxLength: 3 }),
    isRelaxed: fc.boolean(),
  }),
  fc.record({ kind: fc.constant<"start">("start"), index, site: fc.constantFrom(...SITES) }),
  fc.record({ kind: fc.constantFrom<"look" | "again" | "remove">("look", "again", "remove"), index }),
  fc.record({ kind: fc.constant<"end">("end"), index, to: fc.constantFrom(...FINAL) }),
  fc.record({
    kind: fc.constant<"list">("list"),
    tenant: maybe(OWNERS),
    state: maybe(TASK_STATES),
    model: maybe(MODELS),
    tag: maybe(TAGS),
    site: maybe(SITES),
    batchId: maybe(BATCHES),
    isDeadLetter: maybe([true] as const),
    limit: fc.integer({ min: 1, max: 5 }),
    cursor: index,
    running: index,
  }),
  fc.record({
    kind: fc.constantFrom<"put" | "drop">("put", "drop"),
    id: fc.constantFrom(...NOTES),
    expiresInMs: maybe([1000, 100_000]),
  }),
  fc.record({
    kind: fc.constant<"notes">("notes"),
    after: maybe(NOTES),
    order: fc.constantFrom<"rising" | "falling">("rising", "falling"),
  }),
  fc.record({ kind: fc.constant<"wait">("wait"), ms: fc.constantFrom(10, 2000, 3_600_000) }),
  fc.record({ kind: fc.constant<"reopen">("reopen") }),
);

/** Runs all sequences on one store: what earlier ones left there must not disturb later ones. */
export async function randomSequences(subject: Subject): Promise<void> {
  const plain = new PlainStore(subject.clock);
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
      for (const each of steps) await run(subject, plain, each);
      assert.deepEqual([...subject.store.unfinished()], plain.unfinished());
    }),
    { numRuns: 40, interruptAfterTimeLimit: 4000, markInterruptAsFailure: false },
  );
}

async function run(subject: Subject, plain: PlainStore, step: Step): Promise<void> {
  const { store } = subject;
  switch (step.kind) {
    case "insert": {
      const durability = step.isRelaxed ? "relaxed" : "flushed";
      const tasks = step.tasks.map(({ tenant, modelName, tag, batch }) =>
        sampleTask({
          tenant,
          modelName,
          durability,
          tags: tag === undefined ? [] : [tag],
          batch: batch === undefined ? undefined : { id: batch, index: 0, reference: undefined },
        }),
      );
      plain.insert(tasks);
      return store.insert(tasks);
    }
    case "start": {
      const task = plain.start(plain.recent(step.index), step.site);
      return task === undefined ? undefined : store.saveAttempts(task);
    }
    case "end": {
      const task = plain.end(plain.recent(step.index), step.to);
      return task === undefined ? undefined : store.finish(task);
    }
    case "again": {
      const task = plain.beginAgain(plain.recent(step.index));
      return task === undefined ? undefined : store.reopen(task);
    }
    case "remove": {
      const id = plain.recent(step.index) ?? ("task_" as TaskId);
      plain.removeData(id, subject.clock.now());
      return store.removeData([id], subject.clock.now());
    }
    case "look": {
      const id = plain.recent(step.index) ?? ("task_" as TaskId);
      assert.deepEqual(await store.get(id), plain.get(id));
      assert.deepEqual(store.load(id), plain.load(id));
      assert.equal(store.hasInput(id), plain.hasInput(id));
      return;
    }
    case "list":
      return list(subject, plain, step);
    case "put": {
      const expiresAtMs = step.expiresInMs === undefined ? undefined : subject.clock.now() + step.expiresInMs;
      const document = { collection: "notes", id: step.id, value: subject.clock.now(), expiresAtMs };
      plain.put(document);
      return store.documents.put([document]);
    }
    case "drop":
      plain.notes.delete(step.id);
      return store.documents.remove("notes", [step.id]);
    case "notes": {
      const { after, order } = step;
      assert.deepEqual(
        store.documents.list("notes", { after, order, limit: 3 }),
        plain.list(after, order, 3),
      );
      return;
    }
    case "wait":
      subject.clock.advance(step.ms);
      plain.expire();
      return subject.sweep();
    case "reopen":
      return subject.reopen();
  }
}

async function list(
  subject: Subject,
  plain: PlainStore,
  { cursor, running, ...filter }: Filter,
): Promise<void> {
  const query: TaskQuery = { ...filter, before: plain.recent(cursor) };
  const runs = plain.load(plain.recent(running) ?? ("task_" as TaskId));
  if (runs !== undefined) startTask(runs, { site: "berlin" });
  const live = (id: TaskId) => (id === runs?.id ? runs : undefined);
  const found = await subject.store.list(query, live);
  const expected = plain.find(query, live);
  assert.deepEqual(
    found.map((task) => ({ ...task, input: undefined })),
    expected.map((task) => ({ ...task, input: undefined })),
  );
}
