/** What each part of ADAPTIVE is worth: all of it, and then without one part at a time. */

import type { Ratios } from "../report.ts";
import { table } from "../report.ts";
import { type Contest, compete } from "./contest.ts";
import { overallOf } from "./findings.ts";
import { MECHANISMS, type Plan, withoutThese } from "./plan.ts";
import { errorsOf } from "./tables.ts";

export interface Variant {
  readonly name: string;
  readonly contests: readonly Contest[];
}

export function ablate(plan: Plan): Variant[] {
  const variant = (name: string, without: readonly string[]): Variant => ({
    name,
    contests: Object.entries(plan.scenarios).map(([scenario, spec]) =>
      compete(scenario, spec, { ...plan, strategies: ["ADAPTIVE"], mechanisms: withoutThese(without) }),
    ),
  });
  return [variant("everything", []), ...MECHANISMS.map((part) => variant(`without_${part}`, [part]))];
}

export function ablationRatios(variants: readonly Variant[]): Ratios {
  return Object.fromEntries(variants.map(({ name, contests }) => [name, overallOf(contests).ADAPTIVE ?? {}]));
}

export function ablationTable(variants: readonly Variant[]): string {
  const rows = variants.map(({ name, contests }) => {
    const { mean, p99 } = overallOf(contests).ADAPTIVE ?? {};
    const errors = contests.reduce(
      (sum, { strategies }) => sum + [...strategies.values()].reduce((all, each) => all + errorsOf(each), 0),
      0,
    );
    return [name, shown(mean?.[1]), shown(p99?.[1]), String(errors), worstOf(contests)];
  });
  return `ADAPTIVE, one part left out at a time\n\n${table(["", "mean", "p99", "errors", "worst by mean"], rows)}\n`;
}

function worstOf(contests: readonly Contest[]): string {
  const means = contests.map((contest) => ({
    name: contest.name,
    mean: overallOf([contest]).ADAPTIVE?.mean[1] ?? 0,
  }));
  const worst = means.toSorted((a, b) => b.mean - a.mean).slice(0, 3);
  return worst.map(({ name, mean }) => `${name} ${mean.toFixed(2)}`).join(", ");
}

const shown = (value: number | undefined): string => value?.toFixed(3) ?? "";
