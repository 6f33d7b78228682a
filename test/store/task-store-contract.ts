/** What every store of tasks must do; each implementation's test calls this with a way to open one. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { TaskId } from "@legacygpu/shared/ids";
import type { TaskStore } from "../../gateway/store/task-store.ts";
import { groupOf, type TaskRecord } from "../../gateway/tasks/record.ts";
import {
  idsOf,
  insertMany,
  type Limits,
  nothingLive,
  type OpenSubject,
  type WithSubject,
} from "./contract-subject.ts";
import { documentContract } from "./document-contract.ts";
import { retentionContract } from "./retention-contract.ts";
import { endTask, failAttempt, fullOrder, sampleTask, startTask, withoutData } from "./sample-tasks.ts";
import { searchContract } from "./search-contract.ts";
import { secondLifeContract } from "./second-life-contract.ts";
import { randomSequences } from "./task-store-sequences.ts";

const UNLIMITED: Limits = {
  maxFinished: Number.POSITIVE_INFINITY,
  maxFinishedAgeMs: Number.POSITIVE_INFINITY,
  maxStoredBytes: Number.POSITIVE_INFINITY,
};

export function taskStoreContract(name: string, open: OpenSubject): void {
  const withSubject: WithSubject = (what, body, limits = {}) => {
    test(`${name}: ${what}`, async () => {
      const subject = await open({ ...UNLIMITED, ...limits });
      try {
        await body(subject);
      } finally {
        await subject.close();
      }
    });
  };
  unfinishedContract(withSubject);
  finishedContract(withSubject);
  secondLifeContract(withSubject);
  retentionContract(withSubject);
  searchContract(withSubject);
  documentContract(withSubject);
  withSubject("any sequence of operations gives the answers of a plain list", randomSequences);
}

function unfinishedContract(withSubject: WithSubject): void {
  withSubject(
    "a task is found as it was inserted, with its input only when it is loaded",
    async ({ store }) => {
      const task = sampleTask({ ...fullOrder(), deadlineAtMs: 12345.5 });
      await store.insert([task]);
      assert.deepEqual(await store.get(task.id), withoutData(task));
      assert.deepEqual(store.load(task.id), task);
      assert.deepEqual(store.loadRecord(task.id), { ...task, input: undefined });
      const unknown = "task_00000000000000000000000000" as TaskId;
      assert.equal(await store.get(unknown), undefined);
      assert.equal(store.load(unknown), undefined);
      assert.deepEqual(
        [...store.unfinished()],
        [
          {
            id: task.id,
            tenant: "alice",
            classIndex: 0,
            group: groupOf(task),
            inputBytes: 2 ** 40,
            deadlineAtMs: 12345.5,
            lastToken: 0,
            heldBy: undefined,
          },
        ],
      );
    },
  );

  withSubject("what changes outside changes nothing inside", async ({ store }) => {
    const task = sampleTask();
    await store.insert([task]);
    const accepted = structuredClone(task);
    startTask(task);
    const loaded = store.load(task.id);
    assert.deepEqual(loaded, accepted);
    if (loaded !== undefined) startTask(loaded);
    assert.deepEqual(store.load(task.id), accepted);
  });

  withSubject("tensors are kept as they are", async ({ store }) => {
    const tensors = [
      { name: "a", datatype: "INT64" as const, shape: [2, 300], data: new Uint8Array(4800).fill(3) },
      { name: "b", datatype: "BOOL" as const, shape: [], data: new Uint8Array(0) },
    ];
    const task = sampleTask({ input: { kind: "tensors", tensors } });
    await store.insert([task]);
    assert.deepEqual(store.load(task.id)?.input, { kind: "tensors", tensors });
  });

  withSubject("attempts are kept, and who holds the last one is known at a glance", async (subject) => {
    const [task, other] = [sampleTask(), sampleTask()];
    await subject.store.insert([task, other]);
    startTask(task, { token: 2 ** 40 });
    await subject.store.saveAttempts(task);
    await subject.reopen();
    assert.deepEqual(holders(subject.store), [
      [task.id, 2 ** 40, "box"],
      [other.id, 0, undefined],
    ]);
    // It is stored as waiting; that it runs is known to whoever has it in hand.
    const stored: TaskRecord = { ...withoutData(task), state: "PENDING" };
    assert.deepEqual(await subject.store.get(task.id), stored);
    failAttempt(task);
    await subject.store.saveAttempts(task);
    assert.deepEqual(holders(subject.store)[0], [task.id, 2 ** 40, undefined]);
    assert.deepEqual(subject.store.load(task.id), task);
  });

  withSubject(
    "unfinished tasks come oldest first, whatever the order in which they were accepted",
    async ({ store }) => {
      const tasks = Array.from({ length: 2500 }, () => sampleTask());
      await store.insert(tasks.slice(1000));
      await store.insert(tasks.slice(0, 1000));
      for (const task of tasks.filter((_, i) => i % 100 === 0)) {
        startTask(task);
        await store.saveAttempts(task);
      }
      assert.deepEqual(
        holders(store),
        tasks.map(({ id }, i) => (i % 100 === 0 ? [id, 7, "box"] : [id, 0, undefined])),
      );
    },
  );

  withSubject("relaxed tasks are there at once, and after the store was closed", async (subject) => {
    const tasks = Array.from({ length: 3 }, () => sampleTask({ durability: "relaxed" }));
    await subject.store.insert(tasks, [{ collection: "notes", id: "a", value: 1 }]);
    const [first] = tasks as [TaskRecord];
    assert.deepEqual(subject.store.load(first.id), first);
    assert.deepEqual(await subject.store.get(first.id), withoutData(first));
    assert.equal(subject.store.documents.get("notes", "a"), 1);
    assert.deepEqual(subject.store.documents.list("notes", { limit: 2 }), [{ id: "a", value: 1 }]);
    assert.deepEqual(
      (await subject.store.list({ limit: 9 }, nothingLive)).map(({ id }) => id).reverse(),
      tasks.map(({ id }) => id),
    );
    startTask(first);
    await subject.store.saveAttempts(first);
    await subject.store.finish(endTask(first, "COMPLETED"));
    await subject.reopen();
    assert.equal((await subject.store.get(first.id))?.state, "COMPLETED");
    assert.equal([...subject.store.unfinished()].length, 2);
  });

  withSubject("many callers at once are all answered", async ({ store }) => {
    const tasks = Array.from({ length: 300 }, () => sampleTask());
    await Promise.all(tasks.map((task) => store.insert([task])));
    await Promise.all(tasks.map((task) => store.finish(endTask(task, "COMPLETED"))));
    const found = await store.list({ limit: 999, state: "COMPLETED" }, nothingLive);
    assert.deepEqual(idsOf(found), idsOf(tasks).reverse());
  });
}

function finishedContract(withSubject: WithSubject): void {
  withSubject("the end of a task is kept with its output or its error", async (subject) => {
    const [done, failed] = await insertMany(subject.store, 2);
    for (const task of [endTask(done, "COMPLETED"), endTask(failed, "FAILED")])
      await subject.store.finish(task);
    await subject.reopen();
    assert.deepEqual(await subject.store.get(done.id), done);
    assert.deepEqual(await subject.store.get(failed.id), withoutData(failed));
    assert.deepEqual([...subject.store.unfinished()], []);
    assert.equal(subject.store.load(done.id), undefined);
  });

  withSubject("the input is kept for another try only", async ({ store }) => {
    const ends = ["COMPLETED", "CANCELLED", "FAILED", "TIMED_OUT"] as const;
    const tasks = await insertMany(store, 4);
    for (const [i, to] of ends.entries()) await store.finish(endTask(tasks[i] as TaskRecord, to));
    assert.deepEqual(
      tasks.map(({ id }) => store.hasInput(id)),
      [false, false, true, true],
    );
  });

  withSubject("an end is written once; later news of the task are left alone", async ({ store }) => {
    const [task] = await insertMany(store, 1);
    const early = structuredClone(task);
    const note = (id: string) => [{ collection: "c", id, value: 1 }];
    const first = store.finish(endTask(task, "COMPLETED"), note("first"));
    await Promise.all([first, store.finish(endTask(structuredClone(early), "CANCELLED"), note("again"))]);
    startTask(early);
    await store.saveAttempts(early, note("late"));
    await store.finish(endTask(sampleTask(), "CANCELLED"), note("unknown"));
    assert.deepEqual(await store.get(task.id), task);
    assert.deepEqual([...store.unfinished()], []);
    const notes = store.documents.list("c", { limit: 9 });
    assert.deepEqual(notes, [{ id: "first", value: 1 }]);
  });
}

const holders = (store: TaskStore): [TaskId, number, string | undefined][] =>
  [...store.unfinished()].map(({ id, lastToken, heldBy }) => [id, lastToken, heldBy]);
