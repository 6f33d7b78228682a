/** A strategy as ratios to the oracle. */

import type { Spread } from "../rounds.ts";
import type { Result } from "./contest.ts";
import { geometricMean, type Measures } from "./measures.ts";

export const RATIOS = ["mean", "p50", "p99", "p999", "throughput"] as const;
export type RatioName = (typeof RATIOS)[number];

/** One ratio for each seed. */
export type Comparison = Readonly<Record<RatioName, readonly number[]>>;

export function compared(result: Result, oracle: Result): Comparison {
  const bySeed = (of: (run: Measures) => number): number[] =>
    result.runs.map((run, index) => of(run) / of(oracle.runs[index] ?? run));
  return {
    mean: bySeed(({ meanMs }) => meanMs),
    p50: bySeed(({ p50Ms }) => p50Ms),
    p99: bySeed(({ p99Ms }) => p99Ms),
    p999: bySeed(({ p999Ms }) => p999Ms),
    throughput: [result.goodput / oracle.goodput],
  };
}

/** Least, geometric mean and most. */
export function geometricSpread(ratios: readonly number[]): Spread {
  return [Math.min(...ratios), geometricMean(ratios), Math.max(...ratios)];
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
