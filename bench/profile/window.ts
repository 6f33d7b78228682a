/** Tells the processes that were started with the profile hook when to record. */

import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** The hooks look a few times a second, and writing a profile takes a while. */
const SETTLE_MS = 1500;

/** Records while `work` runs; with no `dir` it just runs. */
export async function profiled<Result>(
  dir: string | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  if (dir === undefined) return work();
  const go = join(dir, "go");
  await writeFile(go, "");
  await sleep(SETTLE_MS);
  try {
    return await work();
  } finally {
    await rm(go, { force: true });
    await sleep(SETTLE_MS);
  }
}
