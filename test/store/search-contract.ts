/** How every store of tasks must answer searches. */

import assert from "node:assert/strict";
import type { TaskId } from "@legacygpu/shared/ids";
import type { TaskQuery } from "../../gateway/store/task-store.ts";
import type { TaskRecord } from "../../gateway/tasks/record.ts";
import { idsOf, insertMany, nothingLive, type WithSubject } from "./contract-subject.ts";
import { endTask, sampleTask, startTask } from "./sample-tasks.ts";

export function searchContract(withSubject: WithSubject): void {
  withSubject("the list is newest first and goes on after a cursor", async ({ store }) => {
    const tasks = (await insertMany(store, 7)).reverse();
    for (const i of [1, 2, 5]) await store.finish(endTask(tasks[i] as TaskRecord, "COMPLETED"));
    const page = async (query: Partial<TaskQuery>) =>
      idsOf(await store.list({ limit: 9, ...query }, nothingLive));
    const ids = idsOf(tasks);
    assert.deepEqual(await page({ limit: 3 }), ids.slice(0, 3));
    assert.deepEqual(await page({ before: ids[2] }), ids.slice(3));
    assert.deepEqual(await page({ before: "" }), []);
    assert.deepEqual(await page({ before: "", tenant: "alice" }), []);
    assert.deepEqual(await page({ before: ids.at(-1) }), []);
    assert.deepEqual(await page({ before: "zzz", tenant: "alice" }), ids);
  });

  withSubject("a list of more than anybody reads at once has every task once", async ({ store }) => {
    const tasks = Array.from({ length: 700 }, () => sampleTask());
    await store.insert(tasks);
    const ended = tasks.filter((_, i) => i % 3 === 0 || i > 500);
    await Promise.all(ended.map((task) => store.finish(endTask(task, "CANCELLED"))));
    const ids = idsOf(tasks).reverse();
    assert.deepEqual(idsOf(await store.list({ limit: 9999 }, nothingLive)), ids);
    assert.deepEqual(idsOf(await store.list({ limit: 9999, tenant: "alice" }, nothingLive)), ids);
    assert.deepEqual(
      idsOf(await store.list({ limit: 9999, state: "CANCELLED" }, nothingLive)),
      idsOf(ended).reverse(),
    );
  });

  withSubject("tasks that end while they are listed are found, once", async ({ store }) => {
    const tasks = Array.from({ length: 600 }, () => sampleTask());
    await store.insert(tasks);
    const listed = store.list({ limit: 9999 }, nothingLive);
    await Promise.all(tasks.map((task) => store.finish(endTask(task, "CANCELLED"))));
    assert.deepEqual(idsOf(await listed), idsOf(tasks).reverse());
  });

  withSubject("every filter narrows", async ({ store }) => {
    const tagged = sampleTask({
      tags: ["night", "süd"],
      batch: { id: "b1", index: 0, reference: undefined },
    });
    const alicia = sampleTask({ tenant: "alicia", modelName: "faces", tags: ["day"] });
    const failed = sampleTask({ tenant: "alicia", tags: ["night"] });
    const done = sampleTask({ batch: { id: "b2", index: 1, reference: "x" } });
    await store.insert([tagged, alicia, failed, done]);
    startTask(tagged, { site: "berlin" });
    await store.saveAttempts(tagged);
    startTask(failed, { site: "lab" });
    startTask(done, { site: "berlin" });
    await store.finish(endTask(failed, "FAILED"));
    await store.finish(endTask(done, "COMPLETED"));
    const cases: [Partial<TaskQuery>, TaskRecord[]][] = [
      [{ tenant: "alice" }, [done, tagged]],
      [{ tenant: "alicia" }, [failed, alicia]],
      [{ tenant: "ali" }, []],
      [{ state: "PENDING" }, [alicia, tagged]],
      [{ state: "PENDING", tenant: "alice" }, [tagged]],
      [{ state: "FAILED" }, [failed]],
      [{ state: "COMPLETED", tenant: "alicia" }, []],
      [{ state: "RUNNING" }, []],
      [{ model: "digits" }, [done, failed, tagged]],
      [{ model: "faces", state: "PENDING" }, [alicia]],
      [{ tag: "night" }, [failed, tagged]],
      [{ tag: "süd" }, [tagged]],
      [{ tag: "noon" }, []],
      [{ site: "berlin" }, [done, tagged]],
      [{ site: "lab", tenant: "alicia" }, [failed]],
      [{ batchId: "b1" }, [tagged]],
      [{ batchId: "b2" }, [done]],
      [{ batchId: "b3" }, []],
      [{ isDeadLetter: true }, [failed]],
      [{ isDeadLetter: true, tenant: "alice" }, []],
      [{ isDeadLetter: true, tag: "night", before: failed.id }, []],
      [{ tenant: "alicia", before: failed.id }, [alicia]],
    ];
    for (const [query, expected] of cases) {
      const found = await store.list({ limit: 9, ...query }, nothingLive);
      assert.deepEqual(idsOf(found), idsOf(expected), JSON.stringify(query));
      for (const task of found) assert.ok(task.input === undefined && task.output === undefined);
    }
  });

  withSubject("how a task stands now goes before how it is stored", async ({ store }) => {
    const [stands, runs, ended] = (await insertMany(store, 3)) as [TaskRecord, TaskRecord, TaskRecord];
    await store.finish(endTask(ended, "FAILED"));
    startTask(runs);
    const asked = new Set<TaskId>();
    const live = (id: TaskId): TaskRecord | undefined => {
      asked.add(id);
      return id === runs.id ? runs : undefined;
    };
    const found = async (query: Partial<TaskQuery>) => idsOf(await store.list({ limit: 9, ...query }, live));
    assert.deepEqual(await found({ state: "RUNNING" }), [runs.id]);
    assert.deepEqual(await found({ state: "RUNNING", tenant: "alice" }), [runs.id]);
    assert.deepEqual(await found({ state: "PENDING" }), [stands.id]);
    assert.deepEqual(await found({ site: "lab" }), [runs.id]);
    asked.clear();
    assert.deepEqual(await found({}), [ended.id, runs.id, stands.id]);
    assert.deepEqual([...asked].sort(), [stands.id, runs.id, ended.id]);
  });

  withSubject("a client's own id has its place by its name, whenever it comes", async ({ store }) => {
    const [late, early] = [sampleTask(), sampleTask({ id: "task_00000000010000000000000000" as TaskId })];
    await store.insert([late]);
    await store.insert([early]);
    assert.deepEqual(idsOf(await store.list({ limit: 9 }, nothingLive)), [late.id, early.id]);
    assert.deepEqual(
      [...store.unfinished()].map(({ id }) => id),
      [early.id, late.id],
    );
  });
}
