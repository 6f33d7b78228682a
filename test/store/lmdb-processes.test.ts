import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, test } from "node:test";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import fc from "fast-check";
import type { TaskRecord } from "../../gateway/tasks/record.ts";
import { nothingLive } from "./contract-subject.ts";
import { LmdbRig } from "./lmdb-rig.ts";
import { endTask, inputFor, outputFor, sampleTask, startTask } from "./sample-tasks.ts";

const ROUNDS = 10;
const WRITER = join(import.meta.dirname, "crash-writer.ts");

let rig: LmdbRig;

beforeEach(() => {
  rig = new LmdbRig();
});
afterEach(() => rig.close());

/** Starts a writer, kills it after it has printed `lineCount` lines, and answers with all that it printed. */
async function writeUntilKilled(lineCount: number): Promise<string[]> {
  const child = startWriter();
  const lines: string[] = [];
  const exited = once(child, "close");
  child.stdout?.setEncoding("utf8");
  for await (const line of createInterface({ input: child.stdout ?? assert.fail() })) {
    lines.push(line);
    if (lines.length === lineCount) child.kill("SIGKILL");
  }
  await exited;
  assert.equal(child.signalCode, "SIGKILL", `the writer ended by itself: ${lines.at(-1)}`);
  return lines;
}

function startWriter(): ChildProcess {
  const args = ["--conditions=source", "--import", "tsx", WRITER, rig.path];
  return spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
}

test(`a writer is killed at ${ROUNDS} random moments: what it reported is there, once`, async () => {
  const inserted = new Set<TaskId>();
  const ended = new Set<TaskId>();
  const lineCounts = fc.sample(fc.integer({ min: 1, max: 400 }), { numRuns: ROUNDS, seed: 20260101 });
  for (const lineCount of lineCounts) {
    for (const line of await writeUntilKilled(lineCount)) {
      const [what, id] = line.split(" ");
      if (what === "inserted") inserted.add(id as TaskId);
      if (what === "ended") ended.add(id as TaskId);
    }
    await assertAllThere(inserted, ended);
  }
  assert.ok(inserted.size > ROUNDS && ended.size > 0);
});

/** A task may have been stored, or ended, without a report: its writer died in between. The other way round is a loss. */
async function assertAllThere(inserted: ReadonlySet<TaskId>, ended: ReadonlySet<TaskId>): Promise<void> {
  const store = await rig.open();
  const unfinished = new Set([...store.unfinished()].map(({ id }) => id));
  const listed = (await store.list({ limit: 1_000_000 }, nothingLive)).map(({ id }) => id);
  assert.equal(new Set(listed).size, listed.length, "a task is there twice");
  for (const id of inserted) {
    const task = await store.get(id);
    assert.ok(task !== undefined && listed.includes(id), `${id} was reported and is lost`);
    assert.equal(store.documents.get("notes", id), id);
    if (ended.has(id)) assert.equal(task.state, "COMPLETED", `the end of ${id} is lost`);
    assert.equal(unfinished.has(id), task.state === "PENDING");
    if (task.state === "PENDING") assert.deepEqual(store.load(id)?.input, inputFor(id));
    else assert.deepEqual(task.output, outputFor(id));
  }
  await rig.closeStore();
}

test("a second process is refused, and after kill -9 of the first there is no stale lock", async () => {
  const child = startWriter();
  const exited = once(child, "close");
  await once(child.stdout ?? assert.fail(), "data");
  const error = await refusal();
  assert.equal(error.code, "store_in_use");
  assert.match(error.message, new RegExp(`in use by process ${child.pid}\\.`));
  child.kill("SIGKILL");
  await exited;
  await rig.open();
});

test("the same process cannot open a store twice, and can after closing it", async () => {
  const store = await rig.open();
  const error = await refusal();
  assert.equal(error.code, "store_in_use");
  assert.equal(error.details.pid, process.pid);
  await store.insert([sampleTask()]);
  await rig.reopen();
});

test("a lock file that is none is named", async () => {
  writeFileSync(`${rig.path}.owner`, Buffer.alloc(8192, "x"));
  const error = await refusal();
  assert.equal(error.code, "store_failed");
  assert.match(error.message, /tasks\.mdb\.owner cannot be used: .*remove it when no gateway runs/);
});

const refusal = (): Promise<LegacyGpuError> =>
  rig.open().then(
    () => assert.fail("the store opened"),
    (error: LegacyGpuError) => error,
  );

test("a full disk refuses tasks and loses none; with room again they are accepted", {
  skip: noMount(),
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), "legacygpu-disk-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", folder]);
  const full = new LmdbRig(folder);
  try {
    await fillDisk(full);
  } finally {
    await full.closeStore();
    execFileSync("umount", [folder]);
    rmSync(folder, { recursive: true });
  }
});

async function fillDisk(full: LmdbRig): Promise<void> {
  const store = await full.open();
  const image = new Uint8Array(20_000).fill(7);
  const big = (n: number) =>
    sampleTask({ input: { kind: "image", image }, durability: n === 0 ? "relaxed" : "flushed" });
  const accepted: TaskId[] = [];
  const relaxed: TaskRecord[] = [];
  for (let round = 0; round < 40; round += 1) {
    const tasks = Array.from({ length: 8 }, (_, n) => big(n));
    const results = await Promise.allSettled(tasks.map((task) => store.insert([task])));
    for (const [i, result] of results.entries()) {
      const task = tasks[i] ?? assert.fail();
      if (result.status === "rejected") assert.equal((result.reason as LegacyGpuError).code, "store_full");
      else if (task.durability === "relaxed") relaxed.push(task);
      else accepted.push(task.id);
    }
  }
  assert.ok(accepted.length > 0 && accepted.length < 280);
  assert.equal(relaxed.length, 40);
  assert.ok(full.logLines.some((line) => line.includes("could not be written")));
  const last = relaxed.at(-1) ?? assert.fail();
  assert.deepEqual(store.load(last.id), last, "it is not on disk, and can be run");
  assert.equal([...store.unfinished()].length, accepted.length + relaxed.length);

  execFileSync("mount", ["-o", "remount,size=20m", full.folder]);
  startTask(last);
  await store.saveAttempts(last);
  await store.finish(endTask(last, "COMPLETED"));
  const late = big(1);
  await store.insert([late]);
  const again = await full.reopen();
  assert.equal((await again.get(last.id))?.state, "COMPLETED", "its end is on disk");
  const waiting = [...again.unfinished()].map(({ id }) => id);
  for (const id of [...accepted, late.id]) assert.ok(waiting.includes(id), `${id} is lost`);
  for (const id of waiting) await again.finish(endTask(again.load(id) ?? assert.fail(), "CANCELLED"));
  const listed = await (await full.reopen()).list({ limit: 999 }, nothingLive);
  assert.equal(listed.length, waiting.length + 1);
  assert.ok(listed.every(({ id, state }) => state === (id === last.id ? "COMPLETED" : "CANCELLED")));
}

function noMount(): string | false {
  const isRoot = process.platform === "linux" && process.getuid?.() === 0;
  return isRoot ? false : "only root can mount a small disk";
}
