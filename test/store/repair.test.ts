import assert from "node:assert/strict";
import { copyFileSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import { type RepairResult, repairStore } from "../../gateway/store/repair.ts";
import type { TaskRecord } from "../../gateway/tasks/record.ts";
import { nothingLive } from "./contract-subject.ts";
import { flipBit, flipRandomBit, PAGE_BYTES } from "./damage.ts";
import { assertFails, LmdbRig } from "./lmdb-rig.ts";
import { endTask, outputFor, sampleTask, startTask, withoutData } from "./sample-tasks.ts";
import { seededRandom } from "./seeded-random.ts";
import { contentsOf, fillStore } from "./store-contents.ts";

const ROUNDS = 40;
/** Of a page: the end of its list of entries. */
const LOWER_BOUND_BYTE = 20;

let rig: LmdbRig;

beforeEach(() => {
  rig = new LmdbRig();
});
afterEach(() => rig.close());

const repair = (): Promise<RepairResult> => repairStore(rig.path, rig.clock);

interface AsideLine {
  readonly table: string;
  readonly key: string;
  readonly what: string;
  readonly value?: string;
}

function aside({ asidePath = "" }: RepairResult): AsideLine[] {
  const lines = readFileSync(asidePath, "utf8").trim().split("\n");
  return lines.map((line) => JSON.parse(line) as AsideLine);
}

async function insert(...tasks: TaskRecord[]): Promise<void> {
  await (await rig.open()).insert(tasks);
}

test("a sound store is left alone", async () => {
  await fillStore(await rig.open(), 2);
  await rig.closeStore();
  const before = readFileSync(rig.path);
  const result = await repair();
  assert.deepEqual(result, { setAside: [], setAsideCount: 0, asidePath: undefined, copyPath: undefined });
  assert.ok(readFileSync(rig.path).equals(before));
});

test("a store in use is not repaired", async () => {
  await rig.open();
  await assertFails(repair(), "store_in_use");
});

test("a task whose input is damaged ends, the others wait on; input and store are kept", async () => {
  const [hurt, whole] = [sampleTask(), sampleTask()];
  await insert(hurt, whole);
  await rig.flipBit("inputs", hurt.id);
  const damaged = readFileSync(rig.path);
  await assertFails(rig.open(), "store_corrupt");
  const result = await repair();
  assert.ok(readFileSync(result.copyPath ?? "").equals(damaged));
  const line = aside(result).find(({ value }) => value !== undefined);
  assert.equal(`${line?.table}/${line?.key}`, `inputs/${hurt.id}`);
  assert.ok(Buffer.from(line?.value ?? "", "base64").length > 64);
  const store = await rig.open();
  const ended = await store.get(hurt.id);
  assert.equal(ended?.state, "FAILED");
  assert.equal(ended?.error?.code, "store_corrupt");
  assert.equal(store.hasInput(hurt.id), false);
  assert.deepEqual(store.load(whole.id), whole);
  assert.deepEqual(
    (await store.list({ tenant: "alice", limit: 9 }, nothingLive)).map(({ id }) => id),
    [whole.id, hurt.id],
  );
});

test("a task whose attempts are damaged ends, and can be tried again", async () => {
  const task = sampleTask();
  const store = await rig.open();
  await store.insert([task]);
  startTask(task);
  await store.saveAttempts(task);
  await rig.flipBit("attempts", task.id);
  await repair();
  const again = await rig.open();
  assert.equal((await again.get(task.id))?.error?.code, "store_corrupt");
  assert.ok(again.hasInput(task.id));
});

test("a task whose record is damaged is gone; what is left of it is kept aside", async () => {
  const [hurt, whole] = [sampleTask(), sampleTask()];
  await insert(hurt, whole);
  await rig.flipBit("unfinished", hurt.id);
  const result = await repair();
  const saved = aside(result).filter(({ value }) => value !== undefined);
  assert.deepEqual(
    saved.map(({ table, key }) => [table, key]),
    [
      ["unfinished", hurt.id],
      ["inputs", hurt.id],
    ],
  );
  const store = await rig.open();
  assert.equal(await store.get(hurt.id), undefined);
  assert.deepEqual(store.load(whole.id), whole);
});

test("a result that is damaged counts as removed", async () => {
  const [hurt, whole] = [sampleTask(), sampleTask()];
  const store = await rig.open();
  await store.insert([hurt, whole]);
  for (const task of [hurt, whole]) await store.finish(endTask(task, "COMPLETED"));
  await rig.flipBit("outputs", hurt.id);
  await repair();
  const again = await rig.open();
  assert.deepEqual(await again.get(hurt.id), { ...withoutData(hurt), dataRemovedAtMs: rig.clock.now() });
  assert.deepEqual((await again.get(whole.id))?.output, outputFor(whole.id));
});

test("indexes are made anew", async () => {
  await fillStore(await rig.open(), 3);
  const expected = await contentsOf(await rig.reopen());
  for (const table of ["owners", "finished", "expiring", "dead"]) {
    await rig.edit(table, (opened) => ({ key: opened.keys({ order: "rising", limit: 1 })[0] ?? "" }));
    const error = await assertFails(rig.open(), "store_corrupt");
    assert.match(error.message, new RegExp(`${table}/.* is damaged: it is missing`));
    await repair();
    assert.deepEqual(await contentsOf(await rig.open()), expected);
    await rig.edit(table, () => ({ key: "0000000000000001\0task_x", value: Buffer.from([0]) }));
    await assertFails(rig.open(), "store_corrupt");
    rig.clock.advance(1000);
    await repair();
    assert.deepEqual(await contentsOf(await rig.open()), expected);
    rig.clock.advance(1000);
  }
});

test("a file that is none is beyond repair, and stays where it is", async () => {
  writeFileSync(rig.path, Buffer.alloc(20_000, "no store"));
  const error = await assertFails(repair(), "store_corrupt");
  assert.match(error.message, /only a backup helps/);
  assert.deepEqual(
    readdirSync(rig.folder).filter((name) => /rebuilt|aside|damaged/.test(name)),
    [],
  );
  assert.equal(readFileSync(rig.path).length, 20_000);
});

test(`after ${ROUNDS} flipped bits each repair has lost at most what the bit belonged to`, async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const random = seededRandom(seed);
  await repairEach(
    Array.from({ length: ROUNDS }, () => (path: string) => `${flipRandomBit(path, random)}; seed ${seed}`),
  );
});

test("a page that misstates how many entries it has loses none of them", async () => {
  await repairEach((pages) =>
    Array.from({ length: pages }, (_, page) => (path: string) => flipBit(path, page, LOWER_BOUND_BYTE, 3)),
  );
});

type Harms = readonly ((path: string) => string)[];

/** Each harm to a sound store by itself: the repair may lose one entry, and says so. */
async function repairEach(harms: Harms | ((pages: number) => Harms)): Promise<void> {
  await fillStore(await rig.open({ maxFinished: 100_000 }), 6);
  await rig.closeStore();
  const sound = join(rig.folder, "sound.mdb");
  copyFileSync(rig.path, sound);
  const expected = (await contentsOf(await rig.open())) as Contents;
  await rig.closeStore();
  for (const harm of typeof harms === "function" ? harms(statSync(sound).size / PAGE_BYTES) : harms) {
    copyFileSync(sound, rig.path);
    const where = harm(rig.path);
    rig.clock.advance(1000);
    const result = await repair().catch((error: LegacyGpuError) => assert.fail(`${where}: ${error.stack}`));
    const found = (await contentsOf(await rig.open())) as Contents;
    await rig.closeStore();
    const lost = differences(expected, found);
    assert.ok(lost <= 1, `${lost} are lost or changed: ${where}`);
    if (lost > 0) assert.ok(existsSync(result.asidePath ?? ""), where);
  }
}

interface Contents {
  readonly found: readonly TaskRecord[];
  readonly notes: readonly { readonly id: string }[];
}

/** Tasks and documents that are not as they were. */
function differences(expected: Contents, found: Contents): number {
  const count = <T extends { readonly id: string }>(before: readonly T[], after: readonly T[]): number => {
    const byId = new Map(after.map((each) => [each.id, each]));
    return before.filter((each) => !isDeepStrictEqual(byId.get(each.id), each)).length;
  };
  return count(expected.found, found.found) + count(expected.notes, found.notes);
}
