/** Keys of the tables that are ordered by something else than the id. */

import type { TaskId } from "@legacygpu/shared/ids";

/** Between the parts of a key; ids, owners and times do not have it. */
export const SEPARATOR = "\0";
/** Sorts after every key that begins with the part before. */
export const AFTER_SEPARATOR = "\x01";
const TIME_DIGITS = 16;
const MAX_TIME_MS = 1e15;

/** What is stored where the key says it all: LMDB takes an empty value for none. */
export const NOTHING = Buffer.from([0]);

export const ownerKey = (owner: string, id: string): string => owner + SEPARATOR + id;

/** Sorts by time, then by what follows. */
export function timeKey(timeMs: number, rest: string): string {
  return (
    String(Math.floor(Math.min(Math.max(timeMs, 0), MAX_TIME_MS))).padStart(TIME_DIGITS, "0") +
    SEPARATOR +
    rest
  );
}

export function splitTimeKey(key: string): { readonly timeMs: number; readonly rest: string } {
  return { timeMs: Number(key.slice(0, TIME_DIGITS)), rest: key.slice(TIME_DIGITS + SEPARATOR.length) };
}

export const idOfOwnerKey = (key: string): TaskId => key.slice(key.indexOf(SEPARATOR) + 1) as TaskId;
