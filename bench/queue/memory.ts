/** The memory that this process has taken for itself. */

import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

export interface Memory {
  /** Objects and buffers that are in use. */
  readonly usedBytes: number;
  /** What the system has given to it, apart from files that are mapped: with unused parts of the heap and memory of native code. */
  readonly anonymousBytes: number;
}

/** After garbage has been collected. */
export function measureMemory(): Memory {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return { usedBytes: heapUsed + external, anonymousBytes: anonymousBytes() };
}

function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  // The second one takes what the first one has set free.
  collect();
  collect();
}

/** 0 where the system does not tell. */
function anonymousBytes(): number {
  try {
    const [, kibibytes = "0"] = /RssAnon:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
    return Number(kibibytes) * 1024;
  } catch {
    return 0;
  }
}
