/** A response of many JSON values, one a line, sent while they are found (`application/x-ndjson`). */

import { stringifyExactly } from "../tasks/exact-json.ts";
import type { Response } from "./exchange.ts";

const HEADERS = {
  "content-type": "application/x-ndjson",
  // Asks nginx not to collect the lines.
  "x-accel-buffering": "no",
};

/** When the connection is cut, not all values were sent. The values are only asked for as fast as the client reads them. */
export function jsonLines(values: AsyncIterable<unknown>): Response {
  return { status: 200, headers: HEADERS, body: { chunks: linesOf(values) } };
}

/** Not a generator: its `return()` would wait for the value that the source is being asked for. */
function linesOf(values: AsyncIterable<unknown>): AsyncIterable<string> {
  return {
    [Symbol.asyncIterator]() {
      const source = values[Symbol.asyncIterator]();
      return {
        async next() {
          const { done, value } = await source.next();
          if (done === true) return { done, value: undefined };
          return { done: false, value: `${stringifyExactly(value ?? null)}\n` };
        },
        async return() {
          await source.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}
