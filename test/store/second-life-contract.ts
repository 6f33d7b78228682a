/** What every store of tasks must do when a task begins again, and when its data is removed. */

import assert from "node:assert/strict";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import { beginAnew, type TaskRecord } from "../../gateway/tasks/record.ts";
import { idsOf, insertMany, nothingLive, type WithSubject } from "./contract-subject.ts";
import { endTask, inputFor, ORIGIN_MS, sampleTask, startTask, withoutData } from "./sample-tasks.ts";

export function secondLifeContract(withSubject: WithSubject): void {
  withSubject("a task that failed begins again with its attempts and its input", async (subject) => {
    const [task] = await insertMany(subject.store, 1);
    startTask(task);
    await subject.store.finish(endTask(task, "FAILED"));
    const again = (await subject.store.get(task.id)) as TaskRecord;
    beginAnew(again, ORIGIN_MS + 100);
    await subject.store.reopen(again);
    await subject.reopen();
    assert.deepEqual(subject.store.load(task.id), { ...again, input: inputFor(task.id) });
    assert.equal(subject.store.hasInput(task.id), false);
    assert.deepEqual(idsOf([...(await list(subject.store, { isDeadLetter: true }))]), []);
    assert.deepEqual(
      [...subject.store.unfinished()].map(({ id, lastToken, heldBy }) => [id, lastToken, heldBy]),
      [[task.id, 7, undefined]],
    );
    startTask(again, { token: 9 });
    endTask(again, "COMPLETED", ORIGIN_MS + 200);
    await subject.store.finish(again);
    await subject.reopen();
    assert.deepEqual(await subject.store.get(task.id), again);
    assert.deepEqual(idsOf(await list(subject.store, {})), [task.id]);
  });

  withSubject("without its input a task cannot begin again", async ({ store, sweep, clock }) => {
    const [completed, emptied] = await insertMany(store, 2);
    await store.finish(endTask(completed, "COMPLETED"));
    await store.finish(endTask(emptied, "TIMED_OUT"));
    await store.removeData([emptied.id], ORIGIN_MS + 20);
    for (const task of [completed, emptied, endTask(sampleTask(), "FAILED")]) {
      const error = await store.reopen({ ...task, state: "PENDING" }).then(
        () => assert.fail("it began again"),
        (reason: LegacyGpuError) => reason,
      );
      assert.equal(error.code, "task_not_retryable");
    }
    assert.deepEqual([...store.unfinished()], []);
    clock.advance(1);
    await sweep();
    assert.equal((await store.get(completed.id))?.state, "COMPLETED");
  });

  withSubject("data is removed once, of tasks that have ended", async (subject) => {
    const [completed, failed, waiting] = (await insertMany(subject.store, 3)) as [
      TaskRecord,
      TaskRecord,
      TaskRecord,
    ];
    await subject.store.finish(endTask(completed, "COMPLETED"));
    await subject.store.finish(endTask(failed, "FAILED"));
    const ids = idsOf([completed, failed, waiting]) as TaskRecord["id"][];
    await subject.store.removeData(ids, ORIGIN_MS + 50);
    await subject.store.removeData(ids, ORIGIN_MS + 60);
    await subject.reopen();
    const removed = { isDeadLetter: false, dataRemovedAtMs: ORIGIN_MS + 50 };
    assert.deepEqual(await subject.store.get(completed.id), { ...withoutData(completed), ...removed });
    assert.deepEqual(await subject.store.get(failed.id), { ...withoutData(failed), ...removed });
    assert.equal(subject.store.hasInput(failed.id), false);
    assert.deepEqual(await list(subject.store, { isDeadLetter: true }), []);
    assert.deepEqual(subject.store.load(waiting.id), waiting);
  });

  withSubject("an end and the removal of its data can be asked for together", async ({ store }) => {
    const [task] = await insertMany(store, 1);
    const ended = store.finish(endTask(task, "FAILED"));
    await Promise.all([ended, store.removeData([task.id], ORIGIN_MS + 70)]);
    assert.equal((await store.get(task.id))?.dataRemovedAtMs, ORIGIN_MS + 70);
    assert.equal(store.hasInput(task.id), false);
  });

  withSubject("many dead letters are removed at once", async ({ store }) => {
    const tasks = Array.from({ length: 600 }, () => sampleTask());
    await store.insert(tasks);
    await Promise.all(tasks.map((task) => store.finish(endTask(task, "FAILED"))));
    assert.deepEqual(idsOf(await list(store, { isDeadLetter: true })), idsOf(tasks).reverse());
    await store.removeData(tasks.map(({ id }) => id).slice(1), ORIGIN_MS + 10);
    assert.deepEqual(idsOf(await list(store, { isDeadLetter: true })), idsOf(tasks.slice(0, 1)));
  });
}

function list(
  store: Parameters<Parameters<WithSubject>[1]>[0]["store"],
  query: { readonly isDeadLetter?: true },
): Promise<TaskRecord[]> {
  return store.list({ ...query, limit: 9999 }, nothingLive);
}
