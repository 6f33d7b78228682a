/**
 * Makes a sound store from a damaged one.
 *
 * A new store is built beside the damaged one from everything whose seal is right, read page by page without LMDB, also from pages that nothing leads
 * to any more. What is damaged goes into a file of its own. A task that has lost its input or its attempts ends as FAILED with `store_corrupt`;
 * one whose record is lost goes. Indexes are made anew. Only when the new store has passed every check it takes the name of the old one, which is
 * kept under another.
 */

import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { AsideFile } from "./aside-file.ts";
import { type Damage, openPages } from "./audit.ts";
import { Environment } from "./environment.ts";
import { assertAllSound, inspect } from "./inspection.ts";
import { FORMAT, FORMAT_KEY, formatWrite } from "./migrations.ts";
import { Rebuild } from "./rebuild.ts";
import { fitTogether } from "./refitting.ts";
import { assertExists, besideName, keepAs, removeStore, replace } from "./store-file.ts";
import { lockStore } from "./store-lock.ts";

export interface RepairResult {
  /** What was damaged, and what followed from it; the first thousand. Empty: the store was sound and has not been touched. */
  readonly setAside: readonly Damage[];
  readonly setAsideCount: number;
  /** All of it, with the bytes: one JSON object a line. */
  readonly asidePath: string | undefined;
  /** The store as it was. */
  readonly copyPath: string | undefined;
}

/** On a store that no gateway has open. @throws `store_in_use`, `store_corrupt` when only a backup helps, `store_full`, `store_failed` */
export async function repairStore(path: string, clock: Clock): Promise<RepairResult> {
  assertExists(path);
  const lock = await lockStore(path);
  const rebuilt = `${path}.rebuilt`;
  const aside = new AsideFile(`${besideName(path, "aside", clock.now())}.jsonl`);
  try {
    if (inspect(path).damaged.length === 0)
      return { setAside: [], setAsideCount: 0, asidePath: undefined, copyPath: undefined };
    removeStore(rebuilt);
    await rebuild(path, rebuilt, aside, clock.now());
    assertAllSound(rebuilt);
    const copyPath = besideName(path, "damaged", clock.now());
    keepAs(path, copyPath);
    replace(path, rebuilt);
    return { setAside: aside.listed, setAsideCount: aside.count, asidePath: aside.path, copyPath };
  } catch (error) {
    aside.discard();
    throw error;
  } finally {
    removeStore(rebuilt);
    await lock.release();
  }
}

async function rebuild(from: string, to: string, aside: AsideFile, nowMs: number): Promise<void> {
  const file = openPages(from, (damage) => aside.add(damage));
  let environment: Environment | undefined;
  try {
    if (file === undefined) throw hopeless(from);
    environment = await Environment.open(to);
    const rebuilding = new Rebuild(environment, aside);
    if (rebuilding.copy(file) === 0) throw hopeless(from);
    const meta = environment.table("meta");
    await environment.commit([formatWrite(meta, FORMAT_KEY, FORMAT)]);
    await fitTogether(environment, { withoutAttempts: rebuilding.withoutAttempts, nowMs, aside });
  } finally {
    aside.close();
    file?.close();
    await environment?.close();
  }
}

const hopeless = (path: string): Error =>
  fail("store_corrupt", `Nothing in ${path} can be read any more: only a backup helps.`, { path });
