import assert from "node:assert/strict";
import { statSync, truncateSync } from "node:fs";
import { afterEach, beforeEach, test } from "node:test";
import { verifyStore } from "../../gateway/store/maintenance.ts";
import { beginAnew, type TaskRecord } from "../../gateway/tasks/record.ts";
import { nothingLive } from "./contract-subject.ts";
import { assertFails, LmdbRig } from "./lmdb-rig.ts";
import { endTask, ORIGIN_MS, sampleTask, startTask } from "./sample-tasks.ts";

let rig: LmdbRig;

beforeEach(() => {
  rig = new LmdbRig();
});
afterEach(() => rig.close());

/** One that waits and has been tried, one that is done, one that failed. */
async function threeTasks(): Promise<[waiting: TaskRecord, done: TaskRecord, failed: TaskRecord]> {
  const store = await rig.open();
  const [waiting, done, failed] = [sampleTask(), sampleTask(), sampleTask()];
  await store.insert([waiting, done, failed], [{ collection: "notes", id: "a", value: "b" }]);
  startTask(waiting);
  await store.saveAttempts(waiting);
  await store.finish(endTask(done, "COMPLETED"));
  await store.finish(endTask(failed, "FAILED"));
  return [waiting, done, failed];
}

for (const table of ["unfinished", "inputs", "attempts", "tasks", "documents", "meta"]) {
  test(`one flipped bit in ${table} is named, and the store does not open`, async () => {
    const [waiting, done] = await threeTasks();
    const keys: Record<string, string> = { tasks: done.id, documents: "notes\0a", meta: "starts" };
    const key = keys[table] ?? waiting.id;
    await rig.flipBit(table, key);
    const error = await assertFails(rig.open(), "store_corrupt");
    const where = `${table}/${key.replace("\0", " ")}`;
    assert.match(error.message, new RegExp(`${where} in .* is damaged: its checksum is wrong.*store repair`));
    assert.equal(error.details.key, where);
  });
}

test("a damaged result is an error when it is read, not before", async () => {
  const [, done] = await threeTasks();
  await rig.flipBit("outputs", done.id);
  const store = await rig.open();
  assert.equal((await store.list({ limit: 9 }, nothingLive)).length, 3);
  const error = await assertFails(store.get(done.id), "store_corrupt");
  assert.equal(error.details.key, `outputs/${done.id}`);
});

test("a damaged input that was kept for another try is an error when the task begins again", async () => {
  const [, , failed] = await threeTasks();
  await rig.flipBit("kept", failed.id);
  const store = await rig.open();
  const again = (await store.get(failed.id)) ?? assert.fail();
  beginAnew(again, ORIGIN_MS + 99);
  const error = await assertFails(store.reopen(again), "store_corrupt");
  assert.equal(error.details.key, `kept/${failed.id}`);
});

test("a value under another task's key is noticed", async () => {
  const [task, other] = [sampleTask(), sampleTask()];
  await (await rig.open()).insert([task, other]);
  await rig.edit("inputs", (table) => ({ key: task.id, value: table.get(other.id) ?? Buffer.alloc(0) }));
  assert.equal((await assertFails(rig.open(), "store_corrupt")).details.key, `inputs/${task.id}`);
});

for (const table of ["unfinished", "inputs"]) {
  test(`a task that has lost its part in ${table} is noticed`, async () => {
    const [waiting] = await threeTasks();
    await rig.edit(table, () => ({ key: waiting.id }));
    const error = await assertFails(rig.open(), "store_corrupt");
    assert.match(
      error.message,
      new RegExp(`${waiting.id} in .* is damaged: it (is missing|belongs to no task)`),
    );
  });
}

test("a store that does not say its format is not taken for a new one", async () => {
  await threeTasks();
  await rig.edit("meta", () => ({ key: "format" }));
  assert.match((await assertFails(rig.open(), "store_corrupt")).message, /meta\/format .* it is missing/);
});

test("a file that was cut off is refused and does not end the process", async () => {
  const store = await rig.open();
  const image = new Uint8Array(20_000);
  const big = () => sampleTask({ input: { kind: "image", image } });
  await Promise.all(Array.from({ length: 100 }, () => store.insert([big()])));
  const { size } = statSync(rig.path);
  for (const keptBytes of [Math.floor(size / 8192) * 4096, 16_384, 100]) {
    await rig.closeStore();
    truncateSync(rig.path, keptBytes);
    await assertFails(rig.open(), "store_corrupt");
  }
});

test("verifying lists all damage, also where a start does not look", async () => {
  const [waiting, done, failed] = await threeTasks();
  await rig.flipBit("outputs", done.id);
  await rig.flipBit("kept", failed.id);
  await rig.flipBit("inputs", waiting.id);
  await rig.edit("owners", () => ({ key: `alice\0${done.id}` }));
  const { checked, damaged } = await verifyStore(rig.path);
  assert.deepEqual(
    damaged.map(({ table, key, what }) => `${table}/${key.replace("\0", " ")}: ${what}`).sort(),
    [
      `inputs/${waiting.id}: its checksum is wrong`,
      `kept/${failed.id}: its checksum is wrong`,
      `outputs/${done.id}: its checksum is wrong`,
      `owners/alice ${done.id}: it is missing`,
    ],
  );
  assert.equal(checked.tasks, 2);
  assert.equal(checked.unfinished, 1);
});

test("verifying needs a store that is there and that nobody uses", async () => {
  await assertFails(verifyStore(rig.path), "store_failed");
  await rig.open();
  await assertFails(verifyStore(rig.path), "store_in_use");
});
