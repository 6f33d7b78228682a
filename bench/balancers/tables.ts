/** The results for people. */

import { table } from "../report.ts";
import { type Comparison, compared, mean, RATIOS } from "./comparison.ts";
import type { Contest, Result } from "./contest.ts";
import { geometricMean } from "./measures.ts";

const HEAD = [
  "",
  "mean",
  "p50",
  "p99",
  "p99.9",
  "throughput",
  "errors",
  "copies %",
  "wasted %",
  "re-converged s",
];

export function contestTable(contest: Contest): string {
  const { name, text, oracle, strategies } = contest;
  const rows = [...strategies].map(([strategy, result]) => [
    strategy,
    ...ratioCells(compared(result, oracle)),
    ...otherCells(result),
  ]);
  const { runs, goodput } = oracle;
  const meanMs = mean(runs.map((run) => run.meanMs));
  const p99Ms = mean(runs.map((run) => run.p99Ms));
  const absolute = `${meanMs.toFixed(0)} ms, p99 ${p99Ms.toFixed(0)} ms, ${goodput.toFixed(0)}/s`;
  return `${name}: ${text}\n\n${table(HEAD, [...rows, ["ORACLE", ...RATIOS.map(() => "1"), ...otherCells(oracle)]])}\nORACLE: ${absolute}\n`;
}

export function overallTable(contests: readonly Contest[]): string {
  const names = [...(contests[0]?.strategies.keys() ?? [])];
  const rows = names.map((name) => {
    const pairs = contests.flatMap(({ strategies, oracle }) => {
      const result = strategies.get(name);
      return result === undefined ? [] : [{ result, comparison: compared(result, oracle) }];
    });
    const worst = (of: "mean" | "p99"): string =>
      Math.max(...pairs.map(({ comparison }) => geometricMean(comparison[of]))).toFixed(2);
    const errors = pairs.reduce((sum, { result }) => sum + errorsOf(result), 0);
    const cells = RATIOS.map((ratio) =>
      geometricMean(pairs.map(({ comparison }) => geometricMean(comparison[ratio]))).toFixed(3),
    );
    return [name, ...cells, worst("mean"), worst("p99"), String(errors)];
  });
  const head = [...HEAD.slice(0, 6), "worst mean", "worst p99", "errors"];
  return `All ${contests.length} scenarios\n\n${table(head, rows)}\n`;
}

export function errorsOf({ runs }: Result): number {
  return runs.reduce((sum, { errors }) => sum + errors, 0);
}

function ratioCells(comparison: Comparison): string[] {
  return RATIOS.map((ratio) => geometricMean(comparison[ratio]).toFixed(2));
}

function otherCells(result: Result): string[] {
  const percent = (of: "duplicates" | "wasted"): string =>
    (100 * mean(result.runs.map((run) => run[of]))).toFixed(1);
  const seconds = result.reconvergenceS.map((each) => mean(each).toFixed(1)).join(", ");
  return [String(errorsOf(result)), percent("duplicates"), percent("wasted"), seconds];
}
