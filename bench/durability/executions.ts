/** How often each task was really run, as `execution-hook.ts` has recorded it. */

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** @returns by the number of the task. */
export async function readExecutions(folder: string): Promise<Map<number, number>> {
  const counts = new Map<number, number>();
  for (const file of await readdir(folder)) {
    for (const line of (await readFile(join(folder, file), "utf8")).split("\n")) {
      if (line !== "") counts.set(Number(line), (counts.get(Number(line)) ?? 0) + 1);
    }
  }
  return counts;
}
