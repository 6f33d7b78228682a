/** Whether a process died for want of memory: said only where it is certain, because such a task is sent to larger machines. */

import { readFileSync } from "node:fs";

export interface Death {
  readonly code: number | null;
  readonly signal: string | null;
  /** The end of what it wrote to standard error. */
  readonly lastWords: string;
  /** Processes that the system killed for memory while it last worked. */
  readonly systemKills: number;
}

/** What the C++ runtime and V8 say before they abort. */
const NO_MEMORY = /bad_alloc|heap out of memory|cannot allocate memory/i;
/** How a shell or a container tells of SIGABRT. */
const ABORTED = 128 + 6;
const RECOUNT_MS = 1000;

export function diedOfMemory({ code, signal, lastWords, systemKills }: Death): boolean {
  // Anybody may send this signal; the system counts those that it sends for memory.
  if (signal === "SIGKILL") return systemKills > 0;
  const isAborted = signal === "SIGABRT" || code === ABORTED;
  // A process that wrote of memory earlier and then died in another way died of something else.
  return isAborted && NO_MEMORY.test(lastWords);
}

/** How many processes the system kills for memory, from a mark on that moves with the work. */
export class SystemKills {
  #atMark = countSystemKills();
  #markedAtMs = performance.now();

  get sinceMark(): number {
    return countSystemKills() - this.#atMark;
  }

  /** Work begins. Reads the count at most once per second. */
  mark(): void {
    const nowMs = performance.now();
    if (nowMs - this.#markedAtMs < RECOUNT_MS) return;
    this.#markedAtMs = nowMs;
    this.#atMark = countSystemKills();
  }
}

let source: string | undefined;

/** 0 where nothing counts them: then only the last words tell. */
function countSystemKills(): number {
  if (process.platform !== "linux") return 0;
  source ??= countingFile();
  return countIn(source) ?? 0;
}

/** The own control group where it counts: the machine's count knows of other containers too. */
function countingFile(): string {
  const group = /^0::(.*)$/m.exec(read("/proc/self/cgroup") ?? "")?.[1];
  const events = `/sys/fs/cgroup${group}/memory.events`;
  return group !== undefined && countIn(events) !== undefined ? events : "/proc/vmstat";
}

function countIn(file: string): number | undefined {
  const count = /^oom_kill (\d+)$/m.exec(read(file) ?? "")?.[1];
  return count === undefined ? undefined : Number(count);
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
