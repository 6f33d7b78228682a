/** What every store of tasks must do; each implementation's test calls this with a way to open one. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { TaskId } from "@legacygpu/shared/ids";
import type { TaskQuery, TaskStore } from "../../gateway/store/task-store.ts";
import type { TaskRecord } from "../../gateway/tasks/record.ts";
import { endTask, sampleTask, startTask } from "./sample-tasks.ts";
import { randomSequences } from "./task-store-sequences.ts";

export interface Subject {
  readonly store: TaskStore;
  /** Closes the store and opens it again, when it outlives its process; else does nothing. */
  reopen(): Promise<void>;
  /** Makes the store forget now what it would forget soon. */
  sweep(): Promise<void>;
  close(): Promise<void>;
}

export type OpenSubject = (limits: { readonly maxFinished: number }) => Promise<Subject>;

export function taskStoreContract(name: string, open: OpenSubject): void {
  const withSubject = (what: string, body: (subject: Subject) => Promise<void>, maxFinished = 1000): void => {
    test(`${name}: ${what}`, async () => {
      const subject = await open({ maxFinished });
      try {
        await body(subject);
      } finally {
        await subject.close();
      }
    });
  };

  withSubject("a task is found as it was inserted, by its id only", async ({ store }) => {
    const task = sampleTask({ deadlineAtMs: 12345.5, outputs: ["scores"], priority: "LOW" });
    await store.insert(task);
    assert.deepEqual(await store.get(task.id), task);
    assert.equal(await store.get("task_00000000000000000000000000" as TaskId), undefined);
    assert.deepEqual(store.unfinished(), [task]);
  });

  withSubject("a running task is shown as it stands now", async ({ store }) => {
    const task = sampleTask();
    await store.insert(task);
    startTask(task);
    await store.update(task);
    assert.equal((await store.get(task.id))?.state, "RUNNING");
    assert.deepEqual(idsOf(await store.list({ state: "RUNNING", limit: 9 })), [task.id]);
    assert.deepEqual(await store.list({ state: "PENDING", limit: 9 }), []);
  });

  withSubject("the end of a task is kept with its output or its error", async ({ store }) => {
    const [done, failed] = await insertMany(store, 2);
    for (const task of [endTask(done, "COMPLETED"), endTask(failed, "FAILED")]) {
      await store.update(task);
      assert.deepEqual(await store.get(task.id), task);
    }
    assert.deepEqual(store.unfinished(), []);
    assert.deepEqual(await store.list({ limit: 9 }), [failed, done]);
  });

  withSubject("the list is newest first and goes on after a cursor", async ({ store }) => {
    const tasks = (await insertMany(store, 7)).reverse();
    const first = await store.list({ limit: 3 });
    assert.deepEqual(first, tasks.slice(0, 3));
    assert.deepEqual(await store.list({ limit: 9, before: first.at(-1)?.id }), tasks.slice(3));
    assert.deepEqual(await store.list({ limit: 9, before: "" }), []);
    assert.deepEqual(await store.list({ limit: 9, before: tasks.at(-1)?.id }), []);
    assert.deepEqual(await store.list({ limit: 9, before: "zzz" }), tasks);
  });

  withSubject("the list is of one owner, one state, one model", async ({ store }) => {
    const alice = sampleTask();
    const alicia = sampleTask({ ownerKeyId: "alicia", modelName: "faces" });
    const ended = endTask(sampleTask({ ownerKeyId: "alicia" }), "CANCELLED");
    for (const task of [alice, alicia, ended]) await insertAsNew(store, task);
    await store.update(ended);
    const cases: [Omit<TaskQuery, "limit">, TaskRecord[]][] = [
      [{ ownerKeyId: "alice" }, [alice]],
      [{ ownerKeyId: "alicia" }, [ended, alicia]],
      [{ ownerKeyId: "ali" }, []],
      [{ state: "CANCELLED" }, [ended]],
      [{ model: "digits" }, [ended, alice]],
      [{ model: "faces", state: "PENDING" }, [alicia]],
      [{ ownerKeyId: "alicia", before: ended.id }, [alicia]],
    ];
    for (const [query, expected] of cases)
      assert.deepEqual(
        idsOf(await store.list({ ...query, limit: 9 })),
        idsOf(expected),
        JSON.stringify(query),
      );
  });

  withSubject("many callers at once are all answered", async ({ store }) => {
    const tasks = Array.from({ length: 300 }, () => sampleTask());
    await Promise.all(tasks.map((task) => store.insert(task)));
    assert.deepEqual(idsOf(store.unfinished()), idsOf(tasks));
    await Promise.all(tasks.map((task) => store.update(endTask(task, "COMPLETED"))));
    assert.deepEqual(idsOf(await store.list({ limit: 999, state: "COMPLETED" })), idsOf(tasks).reverse());
  });

  withSubject(
    "finished tasks beyond the bound are forgotten, oldest end first; unfinished ones never",
    async ({ store, sweep }) => {
      const tasks = await insertMany(store, 6);
      const inOrderOfEnd = [3, 0, 4, 1].map((i) => tasks[i] as TaskRecord);
      for (const [i, task] of inOrderOfEnd.entries()) await store.update(endTask(task, "FAILED", 1000 + i));
      await sweep();
      assert.deepEqual(idsOf(await store.list({ limit: 9 })), idsOf([5, 4, 2, 1].map((i) => tasks[i])));
      assert.deepEqual(idsOf(store.unfinished()), idsOf([tasks[2], tasks[5]]));
    },
    2,
  );

  withSubject("any sequence of operations gives the answers of a plain list", randomSequences);
}

/** With the state that a task has when it is accepted, whatever became of it since. */
async function insertAsNew(store: TaskStore, task: TaskRecord): Promise<void> {
  const { state, input } = task;
  task.state = "PENDING";
  task.input = sampleTask().input;
  await store.insert(task);
  Object.assign(task, { state, input });
}

async function insertMany(
  store: TaskStore,
  count: number,
): Promise<[TaskRecord, TaskRecord, ...TaskRecord[]]> {
  const tasks = Array.from({ length: count }, () => sampleTask());
  for (const task of tasks) await store.insert(task);
  return tasks as [TaskRecord, TaskRecord, ...TaskRecord[]];
}

const idsOf = (tasks: readonly (TaskRecord | undefined)[]): (TaskId | undefined)[] =>
  tasks.map((task) => task?.id);
