/** The strategy in force, switched at run time without losing what the others have learned. */

import { fail } from "@legacygpu/shared/errors";
import { STRATEGY_NAMES, type StrategyName } from "@legacygpu/shared/task";
import { LeastLoaded } from "./least-loaded.ts";
import { RoundRobin } from "./round-robin.ts";
import type { Candidate, Strategy } from "./strategy.ts";

/** Other names that the same strategy goes by. */
const ALIASES: Readonly<Record<string, StrategyName>> = { LATENCY_BASED: "LATENCY" };

export class Balancer {
  readonly #strategies: readonly Strategy[] = [new RoundRobin(), new LeastLoaded()];
  #current: Strategy;

  /** @throws as {@link use} */
  constructor(name: string) {
    this.#current = this.#find(name);
  }

  get name(): StrategyName {
    return this.#current.name;
  }

  /** @throws `strategy_unknown`, naming the five; `strategy_unavailable` for one that this version does not have. */
  use(name: string): StrategyName {
    this.#current = this.#find(name);
    return this.#current.name;
  }

  choose<C extends Candidate>(candidates: readonly C[]): C {
    return this.#current.choose(candidates);
  }

  #find(given: string): Strategy {
    const upper = given.toUpperCase();
    const name = STRATEGY_NAMES.find((known) => known === (ALIASES[upper] ?? upper));
    if (name === undefined) {
      throw fail(
        "strategy_unknown",
        `Unknown strategy \`${given}\`; the strategies are ${STRATEGY_NAMES.join(", ")}.`,
        {
          path: "strategy",
          strategies: STRATEGY_NAMES,
        },
      );
    }
    const strategy = this.#strategies.find((built) => built.name === name);
    if (strategy !== undefined) return strategy;
    const available = this.#strategies.map((built) => built.name);
    throw fail("strategy_unavailable", `${name} is not in this version; it has ${available.join(", ")}.`, {
      path: "strategy",
      available,
    });
  }
}
