import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import type { LmdbTaskStore } from "../../gateway/store/lmdb-task-store.ts";
import { until } from "../support/until.ts";
import { nothingLive } from "./contract-subject.ts";
import { assertFails, LmdbRig } from "./lmdb-rig.ts";
import { endTask, sampleTask } from "./sample-tasks.ts";
import { taskStoreContract } from "./task-store-contract.ts";

taskStoreContract("lmdb", async (limits) => {
  const rig = new LmdbRig();
  let store = await rig.open(limits);
  return {
    get store(): LmdbTaskStore {
      return store;
    },
    clock: rig.clock,
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

test("the record that is shown as ended is on disk", async () => {
  const store = await rig.open();
  const task = sampleTask();
  await store.insert([task]);
  let isStored = false;
  const stored = store.finish(endTask(task, "COMPLETED")).then(() => {
    isStored = true;
  });
  assert.equal(store.load(task.id), undefined, "nobody runs a task whose end is being written");
  const [shown] = await Promise.all([store.get(task.id), store.list({ limit: 1 }, nothingLive)]);
  assert.ok(isStored);
  assert.equal(shown?.state, "COMPLETED");
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

test("what is due is forgotten in the background", async () => {
  const store = await rig.open({ maxFinishedAgeMs: 60_000 });
  const task = sampleTask();
  await store.insert([task]);
  await store.finish(endTask(task, "FAILED", rig.clock.now()));
  rig.clock.advance(61_000);
  await until("the task is forgotten", async () => (await store.get(task.id)) === undefined);
});

test("a closed store refuses, has no timers, and can be closed again", async () => {
  const store = await rig.open();
  const task = sampleTask();
  const inserted = store.insert([task]).catch((error: LegacyGpuError) => error.code);
  await store.close();
  await store.close();
  assert.equal(rig.clock.pendingCount, 0);
  assert.equal(await inserted, "gateway_draining");
  await assertFails(store.get(task.id), "gateway_draining");
  await assertFails(store.finish(task), "gateway_draining");
  assert.throws(() => store.load(task.id), { code: "gateway_draining" });
  assert.throws(() => store.documents.get("a", "b"), { code: "gateway_draining" });
});

test("below the reserve nothing is accepted, relaxed or not, but tasks can end", async () => {
  const task = sampleTask();
  await (await rig.open()).insert([task]);
  const store = await rig.reopen({ reserveBytes: Number.MAX_SAFE_INTEGER });
  for (const durability of ["flushed", "relaxed"] as const) {
    const error = await assertFails(store.insert([sampleTask({ durability })]), "store_full");
    assert.match(error.message, /must stay free/);
  }
  await store.finish(endTask(store.load(task.id) ?? assert.fail(), "COMPLETED"));
  assert.equal((await store.get(task.id))?.state, "COMPLETED");
});

test("a store of a newer version is refused and left alone", async () => {
  await rig.open();
  await rig.edit("meta", () => ({ key: "format", value: Buffer.from("3") }));
  const error = await assertFails(rig.open(), "store_too_new");
  assert.match(error.message, /has format 3; this version of legacygpu knows formats up to 2/);
});
