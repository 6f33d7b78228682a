/** What is simulated, and how much of it. */

import { STRATEGY_NAMES, type StrategyName } from "@legacygpu/shared/task";
import { strategyNamed } from "../../gateway/balancers/strategy-name.ts";
import { ALL_MECHANISMS, type Mechanisms } from "../../gateway/dispatch/copies.ts";
import type { Bench } from "../run.ts";
import type { Scenario } from "./scenario.ts";
import { readScenarios } from "./scenario-file.ts";
import { SCENARIOS } from "./scenarios.ts";

/** The same in every run unless told otherwise, so that two versions of a strategy meet the same arrivals. */
const DEFAULT_SEED = 7;
const SEED_STEP = 101;

export const OPTIONS = {
  scenario: { type: "string" },
  scenarios: { type: "string" },
  strategy: { type: "string" },
  without: { type: "string" },
  ablation: { type: "boolean" },
} as const;

export type Mechanism = keyof Mechanisms;

export const MECHANISMS = Object.keys(ALL_MECHANISMS) as readonly Mechanism[];

export interface Plan {
  readonly scenarios: Readonly<Record<string, Scenario>>;
  readonly strategies: readonly StrategyName[];
  readonly seeds: readonly number[];
  readonly tasks: number;
  readonly overloadTasks: number;
  readonly mechanisms: Mechanisms;
  readonly isAblation: boolean;
  /** Of workers, for the cost of a decision. */
  readonly fleets: readonly number[];
}

/** @throws for an option that names what there is not, saying what there is. */
export async function planOf({ isShort, options, seed: drawnSeed }: Bench): Promise<Plan> {
  const { scenario, scenarios, strategy, without, ablation } = options;
  const known = typeof scenarios === "string" ? await readScenarios(scenarios) : SCENARIOS;
  const seed = options.seed === undefined ? DEFAULT_SEED : drawnSeed;
  return {
    scenarios: typeof scenario === "string" ? chosen(known, scenario.split(",")) : known,
    strategies: typeof strategy === "string" ? strategy.split(",").map(strategyNamed) : STRATEGY_NAMES,
    seeds: (isShort ? [0] : [0, 1, 2]).map((index) => seed + SEED_STEP * index),
    tasks: isShort ? 2000 : 7500,
    overloadTasks: isShort ? 3000 : 9000,
    mechanisms: withoutThese(typeof without === "string" ? without.split(",") : []),
    isAblation: ablation === true,
    fleets: [10, 1000, 10_000],
  };
}

export function withoutThese(parts: readonly string[]): Mechanisms {
  const wrong = parts.find((part) => !MECHANISMS.some((known) => known === part));
  if (wrong !== undefined)
    throw new RangeError(`There is no part ${wrong}; there are ${MECHANISMS.join(", ")}.`);
  return { ...ALL_MECHANISMS, ...Object.fromEntries(parts.map((part) => [part, false])) };
}

/** By name, or by what it begins with: S1 is S1-lan-homog, and not S10-blackhole. */
function chosen(
  known: Readonly<Record<string, Scenario>>,
  wanted: readonly string[],
): Readonly<Record<string, Scenario>> {
  const names = Object.keys(known);
  const isWanted = (name: string, want: string): boolean => name === want || name.startsWith(`${want}-`);
  const wrong = wanted.find((want) => !names.some((name) => isWanted(name, want)));
  if (wrong !== undefined)
    throw new RangeError(`There is no scenario ${wrong}; there are ${names.join(", ")}.`);
  return Object.fromEntries(
    Object.entries(known).filter(([name]) => wanted.some((want) => isWanted(name, want))),
  );
}
