/** A small store with something in each of its tables. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { LmdbTaskStore } from "@legacygpu/gateway/store/lmdb-task-store";
import { systemClock } from "@legacygpu/shared/clock";
import { SortableIds } from "@legacygpu/shared/ids";
import { createLogger } from "@legacygpu/shared/log";
import { STORE_LIMITS } from "../processes/store-limits.ts";
import { beginTask, completeTask, storedTask } from "../processes/stored-tasks.ts";

const TASKS = 40;

export async function soundStore(folder: string): Promise<Uint8Array> {
  const path = join(folder, "sound.mdb");
  const nowMs = systemClock.now();
  const log = createLogger("fuzz", "silent");
  const store = await LmdbTaskStore.open({ path, clock: systemClock, log, ...STORE_LIMITS });
  const ids = new SortableIds();
  const tasks = Array.from({ length: TASKS }, () => storedTask(ids.nextTaskId(nowMs), nowMs));
  await store.insert(tasks, [{ collection: "notes", id: "one", value: { text: "kept" } }]);
  for (const [i, task] of tasks.entries()) {
    if (i % 3 === 0) continue;
    beginTask(task, nowMs);
    if (i % 3 === 1) await store.saveAttempts(task);
    else {
      completeTask(task, nowMs);
      await store.finish(task);
    }
  }
  await store.close();
  return readFile(path);
}
