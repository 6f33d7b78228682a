/** The commands for the gateway's store of tasks, on real stores. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { systemClock } from "@legacygpu/shared/clock";
import { createLogger } from "@legacygpu/shared/log";
import * as gateway from "../../gateway/main.ts";
import { LmdbTaskStore } from "../../gateway/store/lmdb-task-store.ts";
import type { TaskRecord } from "../../gateway/tasks/record.ts";
import { runTestCli } from "../support/cli-rig.ts";
import { SchedulerRig } from "../support/scheduler-rig.ts";

let home: string;
let path: string;
let tasks: TaskRecord[];

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "legacygpu-store-"));
  path = join(home, "tasks.mdb");
  const rig = new SchedulerRig();
  tasks = ["first", "second", "third"].map((tenant) => rig.task({ tenant }));
  const store = await open();
  for (const task of tasks) await store.insert([task]);
  await store.close();
});
afterEach(() => rm(home, { recursive: true, force: true }));

const open = (file = path): Promise<LmdbTaskStore> =>
  LmdbTaskStore.open({
    path: file,
    clock: systemClock,
    log: createLogger("test", "silent"),
    maxFinished: 100,
    maxFinishedAgeMs: 1e9,
    maxStoredBytes: 1e9,
  });
const run = (...argv: string[]): ReturnType<typeof runTestCli> =>
  runTestCli(["store", ...argv], {
    env: { LEGACYGPU_HOME: home },
    parts: { storeTools: () => Promise.resolve(gateway) },
  });

/** Changes a letter of the owner's name wherever the file has it in a record. */
async function damage(): Promise<void> {
  const bytes = await readFile(path);
  // Also in pages that are not in use any more: nothing tells them apart here.
  for (let at = bytes.indexOf("secondm@1"); at > 0; at = bytes.indexOf("secondm@1")) bytes[at] = 0x53;
  await writeFile(path, bytes);
}

test("a sound store is told to be sound, and repairing it changes nothing", async () => {
  const verified = await run("verify");
  assert.equal(verified.code, 0, verified.err);
  assert.match(verified.out, /unfinished +3\n[\s\S]*The store is sound\./);
  const before = await readFile(path);
  assert.match((await run("repair")).out, /sound; nothing was changed/);
  assert.deepEqual(await readFile(path), before);
});

test("a damaged record stops the gateway, is named, and is set aside; the rest is kept", async () => {
  await damage();
  await assert.rejects(open(), (error: Error) => {
    assert.match(
      error.message,
      new RegExp(`unfinished/${tasks[1]?.id} .*is damaged.*legacygpu store repair`),
    );
    return true;
  });
  const verified = await run("verify");
  assert.equal(verified.code, 1);
  assert.match(verified.out, new RegExp(`unfinished +${tasks[1]?.id} +its checksum is wrong`));
  const repaired = await run("repair", "--json");
  assert.equal(repaired.code, 0, repaired.err);
  const { asidePath, copyPath, setAsideCount } = JSON.parse(repaired.out);
  assert.ok(setAsideCount > 0 && existsSync(asidePath) && existsSync(copyPath));
  const store = await open();
  assert.deepEqual(
    [...store.unfinished()].map(({ id }) => id),
    [tasks[0]?.id, tasks[2]?.id],
  );
  await store.close();
  assert.equal((await run("verify")).code, 0);
});

test("a backup is made while the store is open, and is a store", async () => {
  const store = await open();
  const target = join(home, "copy.mdb");
  const { code, out, err } = await run("backup", target);
  assert.equal(code, 0, err);
  assert.equal(out, `${target}\n`);
  assert.equal((await run("verify")).code, 1, "the store itself is in use");
  await store.close();
  const copy = await open(target);
  assert.equal([...copy.unfinished()].length, 3);
  await copy.close();
  assert.notEqual((await run("backup", target)).code, 0, "an existing file is not overwritten");
});

test("compacting keeps everything", async () => {
  const { code, out, err } = await run("compact");
  assert.equal(code, 0, err);
  assert.match(out, /before, .* now/);
  const store = await open();
  assert.equal([...store.unfinished()].length, 3);
  await store.close();
});
