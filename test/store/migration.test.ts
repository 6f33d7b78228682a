import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { fail } from "@legacygpu/shared/errors";
import { createLogger } from "@legacygpu/shared/log";
import { Environment } from "../../gateway/store/environment.ts";
import { inspect } from "../../gateway/store/inspection.ts";
import { migrate } from "../../gateway/store/migrations.ts";
import type { TaskRecord } from "../../gateway/tasks/record.ts";
import { nothingLive } from "./contract-subject.ts";
import { writeFormat1 } from "./format-1-store.ts";
import { assertFails, LmdbRig } from "./lmdb-rig.ts";
import { endTask, ORIGIN_MS, sampleTask } from "./sample-tasks.ts";
import { contentsOf } from "./store-contents.ts";

const WEEK_MS = 7 * 24 * 3_600_000;
/** Far above what the clock would give. */
const STARTS = 400_000;

let rig: LmdbRig;

beforeEach(() => {
  rig = new LmdbRig();
});
afterEach(() => rig.close());

/** Every third has ended. */
function oldTasks(count: number): TaskRecord[] {
  return Array.from({ length: count }, (_, i) => {
    const task = sampleTask({
      tenant: i % 2 === 0 ? "alice" : "bob",
      deadlineAtMs: i % 5 === 0 ? i : undefined,
    });
    if (i % 3 === 1) return endTask(task, "COMPLETED", ORIGIN_MS + i);
    if (i % 3 === 2) Object.assign(endTask(task, "FAILED", ORIGIN_MS + i), { input: undefined });
    return task;
  });
}

/** What a task of format 1 is now. */
function asMigrated(task: TaskRecord): TaskRecord {
  const { state, completedAtMs, attempts } = task;
  return {
    ...task,
    inputBytes: state === "PENDING" ? 64 : 0,
    resultTtlMs: WEEK_MS,
    resultExpiresAtMs: completedAtMs === undefined ? undefined : completedAtMs + WEEK_MS,
    isDeadLetter: false,
    attempts: attempts.map((attempt) => ({
      ...attempt,
      acceptedAtMs: attempt.acceptedAtMs === undefined ? undefined : attempt.startedAtMs,
    })),
  };
}

test("a store of format 1 is brought to ours with everything in it", async () => {
  const tasks = oldTasks(30);
  await writeFormat1(rig.path, tasks, STARTS);
  const store = await rig.open();
  assert.ok(store.firstToken > STARTS * 2 ** 33);
  for (const task of tasks.map(asMigrated)) {
    if (task.state === "PENDING") assert.deepEqual(store.load(task.id), task);
    else assert.deepEqual(await store.get(task.id), task);
  }
  const listed = await store.list({ tenant: "bob", limit: 99 }, nothingLive);
  const bobs = tasks.filter(({ tenant }) => tenant === "bob");
  assert.deepEqual(
    listed.map(({ id }) => id).reverse(),
    bobs.map(({ id }) => id),
  );
  assert.deepEqual(
    [...store.unfinished()].map(({ id, deadlineAtMs }) => [id, deadlineAtMs]),
    tasks.filter(({ state }) => state === "PENDING").map(({ id, deadlineAtMs }) => [id, deadlineAtMs]),
  );
  await rig.closeStore();
  assert.deepEqual(inspect(rig.path).damaged, []);
});

test("results of format 1 expire, and its tasks are forgotten, as ours", async () => {
  const tasks = oldTasks(6);
  await writeFormat1(rig.path, tasks, 1);
  const store = await rig.open({ maxFinishedAgeMs: 2 * WEEK_MS });
  rig.clock.advance(WEEK_MS + 1000);
  await store.sweep();
  const done = tasks.find(({ state }) => state === "COMPLETED") ?? assert.fail();
  assert.equal((await store.get(done.id))?.dataRemovedAtMs, rig.clock.now());
  rig.clock.advance(WEEK_MS);
  await store.sweep();
  assert.equal((await store.list({ limit: 99 }, nothingLive)).length, 2);
});

test("a step that was interrupted anywhere is finished at the next start; an older program keeps off", async () => {
  const old = join(rig.folder, "old.mdb");
  await writeFormat1(old, oldTasks(600), STARTS);
  copyFileSync(old, rig.path);
  const expected = await contentsOf(await rig.open());
  await rig.closeStore();
  for (let commits = 0; ; commits += 1) {
    copyFileSync(old, rig.path);
    if (!(await migrateUntil(commits))) {
      assert.ok(commits > 3, "there was nothing to interrupt");
      break;
    }
    if (commits > 0) assert.equal(await formatOf(), "2");
    assert.deepEqual(await contentsOf(await rig.open()), expected, `interrupted after ${commits} commits`);
    await rig.closeStore();
  }
});

/** False: there were no more commits than that. */
async function migrateUntil(commits: number): Promise<boolean> {
  const environment = await Environment.open(rig.path);
  const commit = environment.commit.bind(environment);
  let count = 0;
  environment.commit = async (writes) => {
    if (count === commits) throw fail("store_failed", "interrupted");
    count += 1;
    await commit(writes);
  };
  try {
    await migrate(environment, environment.table("meta"), createLogger("test", "error"));
    return false;
  } catch {
    return true;
  } finally {
    await environment.close();
  }
}

async function formatOf(): Promise<string> {
  const environment = await Environment.open(rig.path);
  const format = Buffer.from(environment.table("meta").get("format") ?? "").toString();
  await environment.close();
  return format;
}

for (const table of ["tasks", "inputs", "outputs"]) {
  test(`a damaged record in ${table} of format 1 stops the start and is named`, async () => {
    const tasks = oldTasks(3);
    await writeFormat1(rig.path, tasks, 1);
    const hurt = tasks[table === "outputs" ? 1 : 0] ?? assert.fail();
    await rig.flipBit(table, hurt.id);
    const error = await assertFails(rig.open(), "store_corrupt");
    assert.match(error.message, new RegExp(`${table}/${hurt.id}.* damaged: its checksum is wrong`));
  });
}
