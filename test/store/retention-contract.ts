/** What every store of tasks must forget, and what it must not. */

import assert from "node:assert/strict";
import type { TaskStore } from "../../gateway/store/task-store.ts";
import type { TaskRecord } from "../../gateway/tasks/record.ts";
import { idsOf, insertMany, nothingLive, type WithSubject } from "./contract-subject.ts";
import { endTask, ORIGIN_MS, RESULT_TTL_MS, sampleTask, withoutData } from "./sample-tasks.ts";

const all = (store: TaskStore): Promise<TaskRecord[]> => store.list({ limit: 9999 }, nothingLive);

export function retentionContract(withSubject: WithSubject): void {
  withSubject(
    "finished tasks beyond the bound are forgotten, oldest end first; unfinished ones never",
    async ({ store, sweep }) => {
      const tasks = await insertMany(store, 6);
      const inOrderOfEnd = [3, 0, 4, 1].map((i) => tasks[i] as TaskRecord);
      for (const [i, task] of inOrderOfEnd.entries())
        await store.finish(endTask(task, "FAILED", ORIGIN_MS + 1000 + i));
      await sweep();
      assert.deepEqual(idsOf(await all(store)), idsOf([5, 4, 2, 1].map((i) => tasks[i])));
      assert.deepEqual(
        [...store.unfinished()].map(({ id }) => id),
        idsOf([tasks[2], tasks[5]]),
      );
      assert.equal(await store.get(inOrderOfEnd[0]?.id ?? assert.fail()), undefined);
    },
    { maxFinished: 2 },
  );

  withSubject(
    "finished tasks are forgotten when they are too old",
    async ({ store, sweep, clock }) => {
      const [old, young, waiting] = (await insertMany(store, 3)) as [TaskRecord, TaskRecord, TaskRecord];
      await store.finish(endTask(old, "FAILED", clock.now()));
      await store.finish(endTask(young, "FAILED", clock.now() + 30_000));
      clock.advance(61_000);
      await sweep();
      assert.deepEqual(idsOf(await all(store)), idsOf([waiting, young]));
      assert.deepEqual(
        idsOf(await store.list({ limit: 9, tenant: "alice" }, nothingLive)),
        idsOf([waiting, young]),
      );
      assert.equal(store.hasInput(old.id), false);
    },
    { maxFinishedAgeMs: 60_000 },
  );

  withSubject(
    "more than one batch is forgotten at once",
    async ({ store, sweep }) => {
      const tasks = Array.from({ length: 700 }, () => sampleTask());
      await store.insert(tasks);
      await Promise.all(tasks.map((task, i) => store.finish(endTask(task, "COMPLETED", ORIGIN_MS + i))));
      await sweep();
      assert.deepEqual(idsOf(await all(store)), idsOf(tasks.slice(-10)).reverse());
    },
    { maxFinished: 10 },
  );

  withSubject("a result expires, its record stays; what waits for a person stays too", async (subject) => {
    const tasks = (await insertMany(subject.store, 3)) as [TaskRecord, TaskRecord, TaskRecord];
    const [early, late, failed] = tasks;
    await subject.store.finish(endTask(early, "COMPLETED", ORIGIN_MS));
    await subject.store.finish(endTask(late, "COMPLETED", ORIGIN_MS + 5000));
    await subject.store.finish(endTask(failed, "FAILED", ORIGIN_MS));
    subject.clock.advance(RESULT_TTL_MS + 1000);
    await subject.sweep();
    await subject.reopen();
    assert.deepEqual(await subject.store.get(early.id), {
      ...withoutData(early),
      dataRemovedAtMs: ORIGIN_MS + RESULT_TTL_MS + 1000,
    });
    assert.deepEqual(await subject.store.get(late.id), late);
    assert.ok(subject.store.hasInput(failed.id));
    assert.deepEqual(idsOf(await all(subject.store)), idsOf(tasks).reverse());
  });

  withSubject(
    "when results take too much room the oldest go first, as few as have to",
    async ({ store, sweep }) => {
      const data = new Uint8Array(64 * 1024);
      const tasks = Array.from({ length: 48 }, () => sampleTask());
      await store.insert(tasks);
      for (const [i, task] of tasks.entries()) {
        endTask(task, "COMPLETED", ORIGIN_MS + i);
        task.outputBytes = data.length;
        task.output = {
          kind: "output",
          tensors: [{ name: "big", datatype: "UINT8", shape: [65_536], data }],
        };
        await store.finish(task);
      }
      await sweep();
      const kept = await Promise.all(
        tasks.map(async ({ id }) => (await store.get(id))?.output !== undefined),
      );
      const first = kept.indexOf(true);
      assert.ok(first > 0 && kept.slice(first).every(Boolean), `kept: ${kept.map(Number).join("")}`);
      assert.ok(kept.length - first >= 12, "more than a quarter of a mebibyte was given up");
      assert.deepEqual(idsOf(await all(store)), idsOf(tasks).reverse());
      assert.equal((await store.get(tasks[0]?.id ?? assert.fail()))?.dataRemovedAtMs, ORIGIN_MS);
    },
    { maxStoredBytes: 2 * 1024 * 1024 },
  );
}
