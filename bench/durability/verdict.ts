/** Holds what the gateway promised against what became of it. */

import type { UpTime } from "./fleet.ts";
import type { Accepted, Ending, History } from "./history.ts";

/** After its deadline, while the gateway is up, a task may take this long to end. */
const DEADLINE_GRACE_MS = 5000;

export interface Evidence {
  readonly history: History;
  /** Ids of the tasks that the gateway has for each request. */
  readonly listed: ReadonlyMap<number, ReadonlySet<string>>;
  /** How often each was run. */
  readonly executions: ReadonlyMap<number, number>;
  readonly upTimes: readonly UpTime[];
}

/** Sentences, each of which names a task. */
export interface Verdict {
  readonly accepted: number;
  readonly completed: number;
  readonly unknown: number;
  /** Acknowledged, and not found or without an end. */
  readonly lost: readonly string[];
  /** Two ends of one task, or two tasks of one request. */
  readonly duplicated: readonly string[];
  /** Completed with an answer that is not right, or with more or fewer results than one. */
  readonly wrong: readonly string[];
  /** Ended too long after the deadline. */
  readonly late: readonly string[];
  /** What must not happen otherwise. */
  readonly violations: readonly string[];
  /** Ended, but not COMPLETED, by the code of the error. */
  readonly failed: ReadonlyMap<string, number>;
  /** Of completed tasks. */
  readonly executions: { readonly mean: number; readonly most: number };
}

export function judge({ history, listed, executions, upTimes }: Evidence): Verdict {
  const tasks = [...history.accepted.values()];
  const ended = tasks.filter((task): task is Accepted & { ending: Ending } => task.ending !== undefined);
  const completed = ended.filter(({ ending }) => ending.status === "COMPLETED");
  return {
    accepted: tasks.length,
    completed: completed.length,
    unknown: history.unknown.size,
    lost: tasks.flatMap((task) => whyLost(task, listed)),
    duplicated: [
      ...tasks.flatMap(({ id, contradictions }) => contradictions.map((what) => `${id}: ${what}`)),
      ...twins(history, listed),
    ],
    wrong: completed.flatMap((task) => whyWrong(task, executions)),
    late: ended.flatMap((task) => whyLate(task, upTimes)),
    violations: history.violations,
    failed: codesOf(ended),
    executions: spread(completed.map(({ n }) => executions.get(n) ?? 0)),
  };
}

/** Whether every promise was kept. */
export function isClean({ lost, duplicated, wrong, late, violations }: Verdict): boolean {
  return [lost, duplicated, wrong, late, violations].every((broken) => broken.length === 0);
}

function whyLost({ id, n, ending, isMissing }: Accepted, listed: Evidence["listed"]): string[] {
  if (isMissing) return [`${id} was not found`];
  if (ending === undefined) return [`${id} has not ended`];
  return listed.get(n)?.has(id) === true ? [] : [`${id} is not in the list of tasks`];
}

function twins(history: History, listed: Evidence["listed"]): string[] {
  const numbers = new Set([...history.idsOf.keys(), ...listed.keys()]);
  return [...numbers].flatMap((n) => {
    const ids = new Set([...(history.idsOf.get(n) ?? []), ...(listed.get(n) ?? [])]);
    return ids.size > 1 ? [`request ${n} made ${[...ids].join(" and ")}`] : [];
  });
}

function whyWrong(
  { id, n, ending }: Accepted & { ending: Ending },
  executions: Evidence["executions"],
): string[] {
  if (!ending.isRight) return [`${id} has a wrong answer`];
  if (ending.results !== 1) return [`${id} has ${ending.results} attempts that gave a result`];
  return executions.has(n) ? [] : [`${id} has a result and was never run`];
}

function whyLate(
  { id, deadlineAtMs, ending }: Accepted & { ending: Ending },
  upTimes: readonly UpTime[],
): string[] {
  if (deadlineAtMs === undefined) return [];
  let overMs = 0;
  for (const { fromMs, toMs } of upTimes)
    overMs += Math.max(0, Math.min(toMs, ending.completedAtMs) - Math.max(fromMs, deadlineAtMs));
  return overMs <= DEADLINE_GRACE_MS ? [] : [`${id} ended ${Math.round(overMs)} ms after its deadline`];
}

function codesOf(ended: readonly { readonly ending: Ending }[]): Map<string, number> {
  const codes = new Map<string, number>();
  for (const { ending } of ended) {
    if (ending.status === "COMPLETED") continue;
    const code = ending.errorCode ?? ending.status;
    codes.set(code, (codes.get(code) ?? 0) + 1);
  }
  return codes;
}

function spread(counts: readonly number[]): { mean: number; most: number } {
  const sum = counts.reduce((total, count) => total + count, 0);
  return { mean: counts.length === 0 ? 0 : sum / counts.length, most: Math.max(0, ...counts) };
}
