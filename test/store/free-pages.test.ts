import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "@legacygpu/shared/clock";
import { createLogger } from "@legacygpu/shared/log";
import { open } from "lmdb";
import { LmdbTaskStore } from "../../gateway/store/lmdb-task-store.ts";
import { verifyStore } from "../../gateway/store/maintenance.ts";
import { SchedulerRig } from "../support/scheduler-rig.ts";

/** So many that the numbers of their transactions no longer fit into one byte. */
const COMMITS = 300;

test("a store whose free pages wait for a reader over hundreds of commits is sound", async () => {
  const folder = await mkdtemp(join(tmpdir(), "legacygpu-free-"));
  const path = join(folder, "tasks.mdb");
  const options = { path, clock: systemClock, log: createLogger("test", "silent") };
  const limits = { maxFinished: 10_000, maxFinishedAgeMs: 1e9, maxStoredBytes: 1e9 };
  const store = await LmdbTaskStore.open({ ...options, ...limits });
  const reader = open({ path, noSubdir: true, encoding: "binary", overlappingSync: false });
  const rig = new SchedulerRig();
  await store.insert([rig.task()]);
  // As long as it reads, no page that was in use then is used again.
  const reading = reader.useReadTransaction();
  for (let i = 0; i < COMMITS; i += 1) await store.insert([rig.task()]);
  await store.close();
  const { damaged } = await verifyStore(path);
  assert.deepEqual(damaged, []);
  reading.done();
  await reader.close();
  await rm(folder, { recursive: true });
});
