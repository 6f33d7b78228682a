/** The results for programs. */

import type { StrategyName } from "@legacygpu/shared/task";
import type { Findings, Numbers, Ratios } from "../report.ts";
import type { Spread } from "../rounds.ts";
import { compared, geometricSpread, mean, RATIOS, type RatioName } from "./comparison.ts";
import type { Contest, Result } from "./contest.ts";
import { geometricMean } from "./measures.ts";
import type { PickCost } from "./pick-cost.ts";
import { errorsOf } from "./tables.ts";

/** By strategy and number of workers. */
export type PickCosts = ReadonlyMap<StrategyName, ReadonlyMap<number, PickCost>>;

export function ratiosOf(contests: readonly Contest[]): Ratios {
  const ratios: Record<string, Ratios> = { overall: overallOf(contests) };
  for (const { name, strategies, oracle } of contests)
    ratios[name] = mapped(strategies, (result) => spreads(result, oracle));
  return ratios;
}

/** Of the geometric means of the scenarios: the least, their geometric mean, and the most. */
export function overallOf(contests: readonly Contest[]): Record<string, Record<RatioName, Spread>> {
  const [first] = contests;
  if (first === undefined) return {};
  return mapped(first.strategies, (_, name) => {
    const all = contests.flatMap(({ strategies, oracle }) => {
      const result = strategies.get(name);
      return result === undefined ? [] : [compared(result, oracle)];
    });
    return byRatio((ratio) => geometricSpread(all.map((comparison) => geometricMean(comparison[ratio]))));
  });
}

export function countsOf(contests: readonly Contest[]): NonNullable<Findings["counts"]> {
  const errors: Record<string, number> = {};
  let tasks = 0;
  for (const { strategies, oracle } of contests) {
    tasks += oracle.runs.reduce((sum, run) => sum + run.tasks, 0);
    for (const [name, result] of strategies) errors[name] = (errors[name] ?? 0) + errorsOf(result);
  }
  const all = Object.values(errors).reduce((sum, count) => sum + count, 0);
  return { client_errors: all, client_errors_of: errors, tasks_per_strategy: tasks };
}

export function figuresOf(contests: readonly Contest[], costs: PickCosts): Numbers {
  const adaptive = [...(costs.get("ADAPTIVE") ?? [])];
  return {
    ...Object.fromEntries(adaptive.map(([workers, { pickUs }]) => [`pick_us_${workers}`, pickUs])),
    pick_us: mapped(costs, (cost) => mapped(cost, ({ pickUs }) => pickUs)),
    cycle_us: mapped(costs, (cost) => mapped(cost, ({ cycleUs }) => cycleUs)),
    oracle: byScenario(contests, ({ oracle }) => absoluteOf(oracle)),
    reconvergence_s: byScenario(
      contests.filter(({ oracle }) => oracle.reconvergenceS.length > 0),
      ({ strategies, oracle }) => mapped(new Map([...strategies, ["ORACLE", oracle]]), reconvergenceOf),
    ),
    duplicates: byScenario(contests, ({ strategies }) => mapped(strategies, meanOf("duplicates"))),
    wasted: byScenario(contests, ({ strategies }) => mapped(strategies, meanOf("wasted"))),
  };
}

function spreads(result: Result, oracle: Result): Record<RatioName, Spread> {
  const comparison = compared(result, oracle);
  return byRatio((ratio) => geometricSpread(comparison[ratio]));
}

function byRatio(spreadOf: (ratio: RatioName) => Spread): Record<RatioName, Spread> {
  return Object.fromEntries(RATIOS.map((ratio) => [ratio, spreadOf(ratio)])) as Record<RatioName, Spread>;
}

function absoluteOf({ runs, goodput }: Result): Numbers {
  return {
    mean_ms: mean(runs.map(({ meanMs }) => meanMs)),
    p50_ms: mean(runs.map(({ p50Ms }) => p50Ms)),
    p99_ms: mean(runs.map(({ p99Ms }) => p99Ms)),
    throughput_per_s: goodput,
  };
}

/** After the first change, and the second. */
function reconvergenceOf({ reconvergenceS }: Result): Numbers {
  return Object.fromEntries(reconvergenceS.map((seconds, index) => [`change_${index + 1}`, mean(seconds)]));
}

function meanOf(name: "duplicates" | "wasted"): (result: Result) => number {
  return ({ runs }) => mean(runs.map((run) => run[name]));
}

function byScenario(contests: readonly Contest[], numbersOf: (contest: Contest) => Numbers): Numbers {
  return Object.fromEntries(contests.map((contest) => [contest.name, numbersOf(contest)]));
}

function mapped<Key extends string | number, Value, To>(
  entries: ReadonlyMap<Key, Value>,
  to: (value: Value, key: Key) => To,
): Record<string, To> {
  return Object.fromEntries([...entries].map(([key, value]) => [key, to(value, key)]));
}
