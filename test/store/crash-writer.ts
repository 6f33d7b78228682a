/** Inserts and ends tasks in a store until it is killed; prints what is on disk, one line each: `inserted ID` or `ended ID`. */

import { systemClock } from "@legacygpu/shared/clock";
import { createLogger } from "@legacygpu/shared/log";
import { LmdbTaskStore } from "../../gateway/store/lmdb-task-store.ts";
import { endTask, sampleTask, startTask } from "./sample-tasks.ts";

const CALLERS = 8;
const [, , path = ""] = process.argv;
const store = await LmdbTaskStore.open({
  path,
  clock: systemClock,
  log: createLogger("writer", "warn"),
  maxFinished: 1_000_000,
  maxFinishedAgeMs: Number.POSITIVE_INFINITY,
  maxStoredBytes: Number.POSITIVE_INFINITY,
  reserveBytes: 0,
});
process.stdout.write("open\n");

/** Every third task is begun and ends; that is written while others are accepted. */
async function write(): Promise<never> {
  for (let n = 0; ; n += 1) {
    const task = sampleTask({ createdAtMs: Date.now() });
    await store.insert([task], [{ collection: "notes", id: task.id, value: task.id }]);
    process.stdout.write(`inserted ${task.id}\n`);
    if (n % 3 !== 0) continue;
    startTask(task);
    await store.saveAttempts(task);
    await store.finish(endTask(task, "COMPLETED"));
    process.stdout.write(`ended ${task.id}\n`);
  }
}

await Promise.all(Array.from({ length: CALLERS }, write));
