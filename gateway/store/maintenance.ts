/** What a person can do with a store from the command line: look for damage, copy it, make it smaller. Repairing it is in `repair.ts`. */

import { renameSync, statSync } from "node:fs";
import { LegacyGpuError } from "@legacygpu/shared/errors";
import { Audit, assertSound, type Damage, openPages, refusal } from "./audit.ts";
import { Environment } from "./environment.ts";
import { assertAbsent, assertExists, removeStore, replace } from "./store-file.ts";
import { lockStore } from "./store-lock.ts";

/** Of one table: a damaged page can make a million of them. */
const MAX_LISTED = 1000;

export interface VerifyResult {
  /** Entries by table. */
  readonly checked: Readonly<Record<string, number>>;
  readonly damaged: readonly Damage[];
  /** Beyond those in the list. */
  readonly unlistedCount: number;
}

/** Reads all of a store that no gateway has open. @throws `store_in_use`, `store_too_new`, `store_failed` */
export async function verifyStore(path: string): Promise<VerifyResult> {
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
 * @throws `store_failed`, `store_full`, `store_corrupt`
 */
export async function backupStore(path: string, target: string): Promise<void> {
  assertExists(path);
  assertAbsent(target);
  const partial = `${target}.part`;
  removeStore(partial);
  try {
    await copy(path, partial, "as it is");
    assertAllSound(partial);
    replace(target, partial);
  } catch (error) {
    removeStore(partial);
    throw error;
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
    const bytesBefore = statSync(path).size;
    removeStore(compacted);
    const { checked } = assertAllSound(path);
    await copy(path, compacted, "compact");
    const after = assertAllSound(compacted);
    if (JSON.stringify(after.checked) !== JSON.stringify(checked))
      throw refusal(compacted, { table: "", key: "", what: "it does not have all entries" });
    replace(path, compacted);
    return { bytesBefore, bytesAfter: statSync(path).size };
  } finally {
    removeStore(compacted);
    await lock.release();
  }
}

/** All that there is to find in a file that nobody writes. @throws `store_too_new`, `store_failed` */
export function inspect(path: string): VerifyResult {
  const damaged: Damage[] = [];
  const counts = new Map<string, number>();
  let unlistedCount = 0;
  const onDamage = (damage: Damage): void => {
    const count = (counts.get(damage.table) ?? 0) + 1;
    counts.set(damage.table, count);
    if (count <= MAX_LISTED) damaged.push(damage);
    else unlistedCount += 1;
  };
  const file = openOrReport(path, onDamage);
  if (file === undefined) return { checked: {}, damaged, unlistedCount };
  try {
    const audit = new Audit(file, { depth: "everything", onDamage });
    audit.run();
    return { checked: audit.checked, damaged, unlistedCount };
  } finally {
    file.close();
  }
}
