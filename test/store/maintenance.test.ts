import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, test } from "node:test";
import { inspect } from "../../gateway/store/inspection.ts";
import { backupStore, compactStore } from "../../gateway/store/maintenance.ts";
import { assertFails, LmdbRig } from "./lmdb-rig.ts";
import { endTask, inputFor, ORIGIN_MS, sampleTask } from "./sample-tasks.ts";
import { contentsOf, fillStore } from "./store-contents.ts";

const WRITER = join(import.meta.dirname, "crash-writer.ts");

let rig: LmdbRig;

beforeEach(() => {
  rig = new LmdbRig();
});
afterEach(() => rig.close());

test("a backup is made while a gateway writes, and has everything that was acknowledged before", async () => {
  const child = spawn(process.execPath, ["--conditions=source", "--import", "tsx", WRITER, rig.path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "close");
  const acknowledged: string[] = [];
  const target = join(rig.folder, "backup.mdb");
  let backup: Promise<void> | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    if (backup === undefined && line.startsWith("inserted"))
      acknowledged.push(line.slice("inserted ".length));
    if (acknowledged.length === 200)
      backup ??= backupStore(rig.path, target).finally(() => child.kill("SIGKILL"));
  }
  await exited;
  await backup;
  assert.equal(child.signalCode, "SIGKILL");
  const other = new LmdbRig();
  writeFileSync(other.path, "");
  await backupStore(target, join(other.folder, "again.mdb"));
  await other.close();
  const copy = await rig.open({ path: target, maxFinished: 1_000_000 });
  for (const id of acknowledged) {
    const task = (await copy.get(id as never)) ?? assert.fail(`${id} is not in the backup`);
    if (task.state === "PENDING") assert.deepEqual(copy.load(task.id)?.input, inputFor(task.id));
  }
});

test("only its owner can read a store and its backup, whatever an earlier version or the umask has left", async () => {
  const modeOf = (path: string): number => statSync(path).mode & 0o777;
  await rig.open();
  assert.equal(modeOf(rig.path), 0o600);
  await rig.closeStore();
  chmodSync(rig.path, 0o644);
  await rig.open();
  assert.equal(modeOf(rig.path), 0o600);
  const target = join(rig.folder, "backup.mdb");
  await backupStore(rig.path, target);
  assert.equal(modeOf(target), 0o600);
});

test("a backup replaces nothing, and is not made of a damaged store", async () => {
  const task = sampleTask();
  await (await rig.open()).insert([task]);
  await rig.flipBit("inputs", task.id);
  const target = join(rig.folder, "backup.mdb");
  await assertFails(backupStore(rig.path, target), "store_corrupt");
  assert.ok(!existsSync(target));
  writeFileSync(target, "mine");
  assert.match((await assertFails(backupStore(rig.path, target), "store_failed")).message, /exists already/);
  await assertFails(backupStore(join(rig.folder, "none.mdb"), `${target}2`), "store_failed");
});

test("compacting gives room back and loses nothing", async () => {
  const store = await rig.open({ maxFinished: 0 });
  const image = new Uint8Array(20_000);
  const tasks = Array.from({ length: 200 }, () => sampleTask({ input: { kind: "image", image } }));
  await store.insert(tasks);
  await fillStore(store, 3);
  await Promise.all(tasks.map((task) => store.finish(endTask(task, "CANCELLED", ORIGIN_MS + 1))));
  await store.sweep();
  const expected = await contentsOf(store);
  await assertFails(compactStore(rig.path), "store_in_use");
  await rig.closeStore();
  const { bytesBefore, bytesAfter } = await compactStore(rig.path);
  assert.ok(bytesAfter < bytesBefore / 4, `${bytesBefore} to ${bytesAfter} bytes`);
  assert.equal(statSync(rig.path).size, bytesAfter);
  assert.deepEqual(
    readdirSync(rig.folder).filter((name) => name.includes("compact")),
    [],
  );
  const again = await rig.open({ maxFinished: 0 });
  assert.deepEqual(await contentsOf(again), expected);
  await again.insert([sampleTask()]);
  await rig.closeStore();
  assert.deepEqual(inspect(rig.path).damaged, []);
});

test("a damaged store is not compacted", async () => {
  const task = sampleTask();
  await (await rig.open()).insert([task]);
  await rig.flipBit("inputs", task.id);
  await assertFails(compactStore(rig.path), "store_corrupt");
  assert.ok(existsSync(rig.path));
});
