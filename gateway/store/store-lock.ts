/**
 * One process at a time on a store.
 *
 * The lock is a place in the reader table of a small LMDB file beside the store. LMDB guards each place with a lock of the kernel on a
 * byte of that file, so that it is gone when its process is, however it ended: there are no stale locks. Of two processes that start at the
 * same moment each may see the other; then both refuse, and none has touched the store.
 */

import { fail } from "@legacygpu/shared/errors";
import { ReaderPlace } from "./environment.ts";
import { PageFile } from "./pages/page-file.ts";

export interface StoreLock {
  release(): Promise<void>;
}

/** @throws `store_in_use`, `store_failed` */
export async function lockStore(storePath: string): Promise<StoreLock> {
  const place = takePlace(storePath);
  const holders = place.holders();
  if (holders.length === 1) return place;
  await place.release();
  const others = holders.filter((pid) => pid !== process.pid);
  throw inUse(storePath, others[0] ?? process.pid);
}

function takePlace(storePath: string): ReaderPlace {
  const lockPath = `${storePath}.owner`;
  try {
    // LMDB would take what stands there for true, and the process down with it.
    PageFile.open(lockPath, (what) => {
      throw new Error(what);
    })?.close();
    return new ReaderPlace(lockPath);
  } catch (error) {
    // Two containers can have the same process id: then the kernel refuses the byte.
    const { code, message } = error as { code?: unknown; message: string };
    if (code === 11 || code === 13 || code === 35) throw inUse(storePath, process.pid, error);
    throw fail(
      "store_failed",
      `${lockPath} cannot be used: ${message}. It holds nothing: remove it when no gateway runs on the store.`,
      { path: lockPath },
      error,
    );
  }
}

function inUse(storePath: string, pid: number, cause?: unknown): Error {
  return fail(
    "store_in_use",
    `${storePath} is in use by process ${pid}. Stop that gateway, or start this one with another LEGACYGPU_HOME.`,
    { path: storePath, pid },
    cause,
  );
}
