/**
 * Writes into a store until it is killed and acknowledges on standard output what the store has taken: `inserted ID` or `ended ID`.
 *
 * It runs under `power/write-log.c`, which gives each acknowledgement its place among the writes.
 */

import { writeSync } from "node:fs";
import { LmdbTaskStore } from "@legacygpu/gateway/store/lmdb-task-store";
import { systemClock } from "@legacygpu/shared/clock";
import { SortableIds } from "@legacygpu/shared/ids";
import { createLogger } from "@legacygpu/shared/log";
import { serveCommands } from "./commands.ts";
import { STORE_LIMITS } from "./store-limits.ts";
import { beginTask, completeTask, storedTask } from "./stored-tasks.ts";

/** So that several callers share a commit, and more come while it is under way. */
const CALLERS = 12;
const COLLECTION = "power";

async function write(path: string): Promise<void> {
  const log = createLogger("power-writer", "warn");
  const store = await LmdbTaskStore.open({ path, clock: systemClock, log, ...STORE_LIMITS });
  const ids = new SortableIds();
  const loop = async (caller: number): Promise<never> => {
    for (let n = caller; ; n += 1) {
      const nowMs = systemClock.now();
      const task = storedTask(ids.nextTaskId(nowMs), nowMs);
      await store.insert([task], [{ collection: COLLECTION, id: task.id, value: { n } }]);
      acknowledge(`inserted ${task.id}`);
      if (n % 4 === 0) continue;
      beginTask(task, nowMs);
      await store.saveAttempts(task);
      if (n % 4 === 1) continue;
      completeTask(task, nowMs);
      await store.finish(task);
      acknowledge(`ended ${task.id}`);
    }
  };
  for (let caller = 0; caller < CALLERS; caller += 1) void loop(caller);
}

function acknowledge(line: string): void {
  writeSync(process.stdout.fd, `${line}\n`);
}

serveCommands({ write });
