/** Counts the starts on a store, so that fencing tokens rise from one start to the next even when the clock goes back. */

import type { Environment } from "./environment.ts";
import { type Place, SEAL_BYTES, seal, unseal } from "./sealed.ts";
import type { Table, Write } from "./table.ts";

export const STARTS_KEY = "starts";
export const STARTS_VERSION = 1;
const PLACE: Place = { table: "meta", key: STARTS_KEY };
/** Attempts that one start may make; what is left of a safe integer is enough for 800,000 starts. */
const TOKENS_PER_START = 2 ** 33;

/** Counts this start and answers with a number above every token of the starts before. @throws `store_corrupt` */
export async function nextStart(environment: Environment, meta: Table, nowMs: number): Promise<number> {
  const stored = meta.get(STARTS_KEY);
  const earlier = stored === undefined ? 0 : unseal(PLACE, stored, STARTS_VERSION).readDoubleLE(0);
  // A store that was moved away starts again: then the clock keeps tokens above those of the old one.
  const start = Math.max(earlier + 1, Math.ceil((nowMs * 1000) / TOKENS_PER_START));
  await environment.commit([startsWrite(meta, start)]);
  return start * TOKENS_PER_START;
}

export function startsWrite(meta: Table, starts: number): Write {
  const value = Buffer.alloc(SEAL_BYTES + 8);
  value.writeDoubleLE(starts, SEAL_BYTES);
  return { table: meta, key: STARTS_KEY, value: seal(PLACE, value, STARTS_VERSION) };
}
