/** What a person can do with a store from the command line: look for damage, copy it, make it smaller. Repairing it is in `repair.ts`. */

import { statSync } from "node:fs";
import { asLegacyGpuError } from "@legacygpu/shared/errors";
import { refusal } from "./audit.ts";
import { Environment } from "./environment.ts";
import { assertAllSound, type Inspection, inspect } from "./inspection.ts";
import { assertAbsent, assertExists, removeStore, replace } from "./store-file.ts";
import { lockStore, type StoreLock } from "./store-lock.ts";

/** Reads all of a store that no gateway has open. @throws `store_in_use`, `store_too_new`, `store_failed` */
export async function verifyStore(path: string): Promise<Inspection> {
  assertExists(path);
  const lock = await lockStore(path);
  try {
    return inspect(path);
  } finally {
    await lock.release();
  }
}

/**
 * A copy as the store is at this moment, also while a gateway writes; read from end to end before it gets its name.
 * @param target must not exist.
 * @throws `store_corrupt`, `store_full`, `store_failed`
 */
export async function backupStore(path: string, target: string): Promise<void> {
  assertExists(path);
  assertAbsent(target);
  const partial = `${target}.part`;
  const lock = await lockUnlessInUse(path);
  try {
    // A gateway has checked the store at its start; else LMDB must not be let at it unchecked.
    if (lock !== undefined) assertAllSound(path);
    removeStore(partial);
    await copy(path, partial, "as it is");
    assertAllSound(partial);
    replace(target, partial);
  } finally {
    removeStore(partial);
    await lock?.release();
  }
}

/** Gives the disk back what the store does not use any more. @throws `store_in_use`, `store_corrupt`, `store_full`, `store_failed` */
export async function compactStore(
  path: string,
): Promise<{ readonly bytesBefore: number; readonly bytesAfter: number }> {
  assertExists(path);
  const lock = await lockStore(path);
  const compacted = `${path}.compact`;
  try {
    removeStore(compacted);
    const bytesBefore = statSync(path).size;
    const before = assertAllSound(path);
    await copy(path, compacted, "compact");
    const after = assertAllSound(compacted);
    if (JSON.stringify(after) !== JSON.stringify(before))
      throw refusal(compacted, { table: "", key: "", what: "it does not have all entries" });
    replace(path, compacted);
    return { bytesBefore, bytesAfter: statSync(path).size };
  } finally {
    removeStore(compacted);
    await lock.release();
  }
}

async function lockUnlessInUse(path: string): Promise<StoreLock | undefined> {
  try {
    return await lockStore(path);
  } catch (error) {
    if (asLegacyGpuError(error).code === "store_in_use") return undefined;
    throw error;
  }
}

async function copy(from: string, to: string, how: "as it is" | "compact"): Promise<void> {
  const environment = await Environment.open(from, { isReadOnly: true });
  try {
    await environment.copy(to, how);
  } finally {
    await environment.close();
  }
}
