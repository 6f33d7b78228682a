import assert from "node:assert/strict";
import { statSync, truncateSync } from "node:fs";
import { afterEach, beforeEach, test } from "node:test";
import type { ErrorCode, LegacyGpuError } from "@legacygpu/shared/errors";
import { Environment } from "../../gateway/store/environment.ts";
import type { LmdbTaskStore } from "../../gateway/store/lmdb-task-store.ts";
import { LmdbRig } from "./lmdb-rig.ts";
import { endTask, inputFor, sampleTask } from "./sample-tasks.ts";
import { taskStoreContract } from "./task-store-contract.ts";

taskStoreContract("lmdb", async (limits) => {
  const rig = new LmdbRig();
  let store = await rig.open(limits);
  return {
    get store(): LmdbTaskStore {
      return store;
    },
    reopen: async () => {
      store = await rig.reopen(limits);
    },
    sweep: () => store.sweep(),
    close: () => rig.close(),
  };
});

let rig: LmdbRig;

beforeEach(() => {
  rig = new LmdbRig();
});
afterEach(() => rig.close());

test("after a restart unfinished tasks are there with their input, finished ones without", async () => {
  const store = await rig.open();
  const [waiting, ended] = [sampleTask({ priority: "HIGH" }), sampleTask()];
  await Promise.all([store.insert(waiting), store.insert(ended)]);
  await store.update(endTask(ended, "COMPLETED"));
  const again = await rig.reopen();
  assert.deepEqual(again.unfinished(), [waiting]);
  assert.deepEqual(again.unfinished()[0]?.input, inputFor(waiting.id));
  assert.deepEqual(await again.list({ limit: 9 }), [ended, waiting]);
  assert.equal((await again.get(ended.id))?.input, undefined);
});

test("the record that is shown as ended is on disk", async () => {
  const store = await rig.open();
  const task = sampleTask();
  await store.insert(task);
  let isStored = false;
  const stored = store.update(endTask(task, "COMPLETED")).then(() => {
    isStored = true;
  });
  await Promise.all([store.get(task.id), store.list({ limit: 1 })]);
  assert.ok(isStored);
  await stored;
});

test("tokens rise from start to start, also when the clock goes back", async () => {
  const first = (await rig.open()).firstToken;
  const second = (
    await rig.reopen({
      clock: { ...rig.clock, now: () => 0, monotonic: () => 0, after: rig.clock.after.bind(rig.clock) },
    })
  ).firstToken;
  assert.ok(first >= rig.clock.now() * 1000 && second > first && Number.isSafeInteger(second));
});

test("finished tasks are forgotten when they are too old, in the background", async () => {
  const store = await rig.open({ maxFinishedAgeMs: 60_000 });
  const [old, young, waiting] = [sampleTask(), sampleTask(), sampleTask()];
  for (const task of [old, young, waiting]) await store.insert(task);
  await store.update(endTask(old, "FAILED", rig.clock.now()));
  await store.update(endTask(young, "FAILED", rig.clock.now() + 30_000));
  rig.clock.advance(61_000);
  await store.sweep();
  assert.deepEqual(await store.list({ limit: 9 }), [waiting, young]);
  assert.equal(await store.get(old.id), undefined);
  assert.deepEqual(await store.list({ limit: 9, ownerKeyId: "alice" }), [waiting, young]);
});

test("more than one batch is forgotten at once", async () => {
  const store = await rig.open({ maxFinished: 10 });
  const tasks = Array.from({ length: 600 }, () => sampleTask());
  await Promise.all(tasks.map((task) => store.insert(task)));
  await Promise.all(tasks.map((task) => store.update(endTask(task, "CANCELLED"))));
  await store.sweep();
  assert.deepEqual(await store.list({ limit: 99 }), tasks.slice(-10).reverse());
});

test("a closed store refuses, has no timers, and can be closed again", async () => {
  const store = await rig.open();
  const task = sampleTask();
  const inserted = store.insert(task).catch((error: LegacyGpuError) => error.code);
  await store.close();
  await store.close();
  assert.equal(rig.clock.pendingCount, 0);
  assert.equal(await inserted, "gateway_draining");
  await assertFails(store.get(task.id), "gateway_draining");
});

for (const table of ["tasks", "inputs"]) {
  test(`one flipped bit in ${table} of an unfinished task is named, and the store does not open`, async () => {
    const task = sampleTask();
    await (await rig.open()).insert(task);
    await flipBit(table, task.id);
    const error = await assertFails(rig.open(), "store_corrupt");
    assert.match(error.message, new RegExp(`${table}/${task.id} is damaged: its checksum is wrong.*backup`));
    assert.equal(error.details.key, `${table}/${task.id}`);
  });
}

test("a damaged finished task is an error when it is read, by id or in a list", async () => {
  const store = await rig.open();
  const task = sampleTask();
  await store.insert(task);
  await store.update(endTask(task, "COMPLETED"));
  await flipBit("outputs", task.id);
  const again = await rig.open();
  const error = await assertFails(again.get(task.id), "store_corrupt");
  assert.equal(error.details.key, `outputs/${task.id}`);
  await assertFails(again.list({ limit: 9 }), "store_corrupt");
});

test("a value under another task's key is noticed", async () => {
  const [task, other] = [sampleTask(), sampleTask()];
  const store = await rig.open();
  await store.insert(task);
  await store.insert(other);
  await edit("inputs", (table) => ({ key: task.id, value: table.get(other.id) ?? Buffer.alloc(0) }));
  assert.equal((await assertFails(rig.open(), "store_corrupt")).details.key, `inputs/${task.id}`);
});

test("a lost record or input is noticed", async () => {
  const task = sampleTask();
  await (await rig.open()).insert(task);
  await edit("tasks", () => ({ key: task.id }));
  assert.match(
    (await assertFails(rig.open(), "store_corrupt")).message,
    /tasks\/task_\w+ is damaged: it is missing/,
  );
});

test("a file that was cut off is refused and does not end the process", async () => {
  const store = await rig.open();
  const image = new Uint8Array(20_000);
  const big = () => sampleTask({ input: { kind: "image", image } });
  await Promise.all(Array.from({ length: 100 }, () => store.insert(big())));
  const { size } = statSync(rig.path);
  for (const keptBytes of [Math.floor(size / 8192) * 4096, 16_384, 100]) {
    await rig.closeStore();
    truncateSync(rig.path, keptBytes);
    await assertFails(rig.open(), "store_corrupt");
  }
});

test("a store of a newer version is refused and left alone", async () => {
  await rig.open();
  await edit("meta", () => ({ key: "format", value: Buffer.from("2") }));
  const error = await assertFails(rig.open(), "store_too_new");
  assert.match(error.message, /has format 2; this version of legacygpu knows formats up to 1/);
});

test("below the reserve nothing is accepted, but tasks can end", async () => {
  const task = sampleTask();
  await (await rig.open()).insert(task);
  const store = await rig.reopen({ reserveBytes: Number.MAX_SAFE_INTEGER });
  const [restored] = store.unfinished();
  assert.ok(restored);
  // The first caller asks the disk; whoever comes with it is still accepted.
  assert.match((await assertFails(store.insert(sampleTask()), "store_full")).message, /must stay free/);
  await store.update(endTask(restored, "COMPLETED"));
  assert.equal((await store.get(task.id))?.state, "COMPLETED");
});

async function assertFails(action: Promise<unknown>, code: ErrorCode): Promise<LegacyGpuError> {
  const error = await action.then(
    () => assert.fail(`expected ${code}`),
    (reason: LegacyGpuError) => reason,
  );
  assert.equal(error.code, code, error.stack);
  return error;
}

async function flipBit(table: string, key: string): Promise<void> {
  await edit(table, (opened) => {
    const value = Buffer.from(opened.get(key) ?? assert.fail(`no ${key}`));
    value[value.length - 3] = (value.at(-3) ?? 0) ^ 1;
    return { key, value };
  });
}

/** Writes into the closed store behind its back. */
async function edit(
  name: string,
  change: (table: ReturnType<Environment["table"]>) => { key: string; value?: Uint8Array },
): Promise<void> {
  await rig.closeStore();
  const environment = await Environment.open(rig.path);
  const table = environment.table(name);
  await environment.commit([{ table, ...change(table) }]);
  await environment.close();
}
