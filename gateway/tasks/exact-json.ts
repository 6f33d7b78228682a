/**
 * JSON in which whole numbers beyond 2^53 keep all of their digits: they are bigints in memory, and plain numbers in the text.
 *
 * The engine's own parser and writer do the work; a second pass is only made over texts and values that hold such numbers.
 */

import { randomBytes } from "node:crypto";

/** Stands before the digits of a bigint in a string; nobody outside can have written it. */
const MARK = `exact-${randomBytes(16).toString("hex")}:`;
const MARKED = new RegExp(`"${MARK}(-?\\d+)"`, "g");
/** Nothing shorter can be beyond 2^53. A false alarm, from within a string, costs a second pass and nothing else. */
const LONG_INTEGER = /(?:^|[[,:\s])-?\d{16,}(?:[\]},\s]|$)/;
const STRING_OR_NUMBER = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
/** No 64-bit integer has more digits; making a bigint of millions of them would block the process. */
const WHOLE = /^-?\d{16,20}$/;

/** @throws SyntaxError as `JSON.parse` does */
export function parseExactly(text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (!LONG_INTEGER.test(text)) return value;
  return withBigInts(JSON.parse(text.replace(STRING_OR_NUMBER, marked)));
}

/** @throws TypeError as `JSON.stringify` does, but not for bigints */
export function stringifyExactly(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
  return JSON.stringify(value, (_key, each: unknown) =>
    typeof each === "bigint" ? `${MARK}${each}` : each,
  ).replaceAll(MARKED, "$1");
}

function marked(token: string): string {
  return WHOLE.test(token) && !Number.isSafeInteger(Number(token)) ? `"${MARK}${token}"` : token;
}

/** In place. Without recursion: what was sent may be nested deeper than the stack. */
function withBigInts(root: unknown): unknown {
  const holder = { root };
  const pending: Record<string, unknown>[] = [holder];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    for (const key of Object.keys(at)) {
      const value = at[key];
      if (typeof value === "string" && value.startsWith(MARK)) at[key] = BigInt(value.slice(MARK.length));
      else if (typeof value === "object" && value !== null) pending.push(value as Record<string, unknown>);
    }
  }
  return holder.root;
}
