/** Counts the starts on a store, so that fencing tokens rise from one start to the next even when the clock goes back. */

import type { Environment } from "./environment.ts";
import type { Table } from "./table.ts";

const STARTS_KEY = "starts";
/** Attempts that one start may make; what is left of a safe integer is enough for 800,000 starts. */
const TOKENS_PER_START = 2 ** 33;

/** Counts this start and answers with a number above every token of the starts before. */
export async function nextStart(environment: Environment, meta: Table, nowMs: number): Promise<number> {
  const earlier = Number(meta.get(STARTS_KEY)?.toString() ?? 0);
  // A store that was moved away starts again: then the clock keeps tokens above those of the old one.
  const start = Math.max(earlier + 1, Math.ceil((nowMs * 1000) / TOKENS_PER_START));
  await environment.commit([{ table: meta, key: STARTS_KEY, value: Buffer.from(String(start)) }]);
  return start * TOKENS_PER_START;
}
