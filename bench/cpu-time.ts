/**
 * CPU time of processes. It says what a request costs even when other work takes the cores away, which rates and latencies do not.
 *
 * Linux only; elsewhere everything is 0. From the scheduler's own sums: `/proc/PID/stat` is made of samples at clock ticks, which
 * miss or double the many short runs of processes that wait for each other.
 */

import { readdirSync, readFileSync } from "node:fs";

interface ProcessTime {
  readonly parent: number;
  readonly us: number;
}

export interface CpuTime {
  /** Of the processes themselves. */
  readonly ownUs: number;
  /** Of everything that they have started and that still runs. */
  readonly descendantsUs: number;
}

export function cpuTime(pids: readonly number[]): CpuTime {
  const processes = readProcesses();
  const isBelow = (pid: number): boolean => {
    const parent = processes.get(pid)?.parent;
    return parent !== undefined && (pids.includes(parent) || isBelow(parent));
  };
  let ownUs = 0;
  let descendantsUs = 0;
  for (const [pid, { us }] of processes) {
    if (pids.includes(pid)) ownUs += us;
    else if (isBelow(pid)) descendantsUs += us;
  }
  return { ownUs, descendantsUs };
}

function readProcesses(): Map<number, ProcessTime> {
  const processes = new Map<number, ProcessTime>();
  for (const name of listProcesses()) {
    const time = readProcess(name);
    if (time !== undefined) processes.set(Number(name), time);
  }
  return processes;
}

function listProcesses(): string[] {
  try {
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}

function readProcess(pid: string): ProcessTime | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name of the program comes second, in brackets, and may hold anything.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const threads = readdirSync(`/proc/${pid}/task`);
    return { parent: Number(fields[1]), us: threads.reduce((sum, thread) => sum + threadUs(pid, thread), 0) };
  } catch {
    // It has ended since it was listed.
    return undefined;
  }
}

function threadUs(pid: string, thread: string): number {
  const [onCpuNs] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ");
  return Number(onCpuNs) / 1000;
}
