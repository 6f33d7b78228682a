/**
 * Keeps a process within its memory, where the system tells what it takes (Linux; elsewhere nobody watches).
 *
 * A watch and not a limit of the system: those count address space, of which drivers and JavaScript engines reserve terabytes that
 * they never touch.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { type Clock, every, type Timer } from "@legacygpu/shared/clock";

export interface MemoryWatchOptions {
  readonly pid: number;
  readonly limitBytes: number;
  readonly clock: Clock;
  /** Called once. */
  onExceeded(usedBytes: number): void;
}

/** In this time a process can fill some hundred MB more. */
const INTERVAL_MS = 100;
const KIB = 1024;
/** The kernel ends those with the highest number first; 1000 is the highest. */
const FIRST_VICTIM = "1000";

export const canWatchMemory = (): boolean => heldBytes(process.pid) !== undefined;

/** @returns a timer that ends the watch. */
export function watchMemory({ pid, limitBytes, clock, onExceeded }: MemoryWatchOptions): Timer {
  // Until its process has become what it is to be, it may belong to nobody who is us.
  let isVictim = makeFirstVictim(pid);
  const watch = every(clock, INTERVAL_MS, () => {
    if (!isVictim) isVictim = makeFirstVictim(pid);
    const usedBytes = heldBytes(pid);
    if (usedBytes === undefined || usedBytes <= limitBytes) return;
    watch.cancel();
    onExceeded(usedBytes);
  });
  return watch;
}

/** What only the end of the process gives back. Not the pages of files, such as libraries and models: those go by themselves. */
export function heldBytes(pid: number): number | undefined {
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return undefined;
  }
  const kib = (field: string): number => Number(new RegExp(`^${field}:\\s*(\\d+) kB`, "m").exec(status)?.[1]);
  const bytes = (kib("RssAnon") + kib("RssShmem") + kib("VmSwap")) * KIB;
  // A process that has ended but was not waited for has no such lines.
  return Number.isNaN(bytes) ? undefined : bytes;
}

/** When the machine is out of memory, the kernel is to end this process and not its agent. */
function makeFirstVictim(pid: number): boolean {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, FIRST_VICTIM);
    return true;
  } catch {
    return false;
  }
}
