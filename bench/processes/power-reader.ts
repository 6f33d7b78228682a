/** Opens a store as a power cut has left it and says which of the tasks that were acknowledged it does not have as they were. */

import { isDeepStrictEqual } from "node:util";
import { LmdbTaskStore } from "@legacygpu/gateway/store/lmdb-task-store";
import { systemClock } from "@legacygpu/shared/clock";
import type { TaskId } from "@legacygpu/shared/ids";
import { createLogger } from "@legacygpu/shared/log";
import { serveCommands } from "./commands.ts";
import { STORE_LIMITS } from "./store-limits.ts";
import { inputFor, outputFor } from "./stored-tasks.ts";

export interface ReadOrder {
  readonly path: string;
  readonly inserted: readonly TaskId[];
  readonly ended: readonly TaskId[];
}

export interface ReadResult {
  /** Why the store was not opened. */
  readonly refusal: string | undefined;
  /** Each with what is wrong. */
  readonly lost: readonly string[];
}

async function check({ path, inserted, ended }: ReadOrder): Promise<ReadResult> {
  const log = createLogger("power-reader", "fatal");
  let store: LmdbTaskStore;
  try {
    store = await LmdbTaskStore.open({ path, clock: systemClock, log, ...STORE_LIMITS });
  } catch (error) {
    return { refusal: (error as Error).message, lost: [...inserted] };
  }
  const hasEnded = new Set(ended);
  const lost: string[] = [];
  for (const id of inserted) {
    const wrong = await whatIsWrong(store, id, hasEnded.has(id)).catch((error: Error) => error.message);
    if (wrong !== undefined) lost.push(`${id} ${wrong}`);
  }
  await store.close();
  return { refusal: undefined, lost };
}

/** A task may have ended without an acknowledgement; the other way round is a loss. */
async function whatIsWrong(store: LmdbTaskStore, id: TaskId, hasEnded: boolean): Promise<string | undefined> {
  const task = await store.get(id);
  if (task === undefined) return "is not there";
  if (store.documents.get("power", id) === undefined) return "has lost its document";
  if (task.state === "COMPLETED")
    return isDeepStrictEqual(task.output, outputFor(id)) ? undefined : "has another output";
  if (hasEnded) return `had ended and is ${task.state}`;
  return isDeepStrictEqual(store.load(id)?.input, inputFor(id)) ? undefined : "has another input";
}

serveCommands({ check });
