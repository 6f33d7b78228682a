/** The names of the strategies, as people write them. */

import { fail } from "@legacygpu/shared/errors";
import { STRATEGY_NAMES, type StrategyName } from "@legacygpu/shared/task";

/** Other names that the same strategy goes by. */
const ALIASES: Readonly<Record<string, StrategyName>> = { LATENCY_BASED: "LATENCY" };

/** @throws `strategy_unknown`, naming the five */
export function strategyNamed(given: string): StrategyName {
  const upper = given.toUpperCase();
  const name = STRATEGY_NAMES.find((known) => known === (ALIASES[upper] ?? upper));
  if (name !== undefined) return name;
  throw fail(
    "strategy_unknown",
    `Unknown strategy \`${given}\`; the strategies are ${STRATEGY_NAMES.join(", ")}.`,
    { path: "strategy", strategies: STRATEGY_NAMES },
  );
}
