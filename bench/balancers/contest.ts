/** Every strategy in the same world, with the same tasks, against the oracle. */

import type { StrategyName } from "@legacygpu/shared/task";
import { createStrategies } from "../../gateway/balancers/strategies.ts";
import type { Strategy } from "../../gateway/balancers/strategy.ts";
import type { Mechanisms } from "../../gateway/dispatch/copies.ts";
import { Dispatcher } from "../../gateway/dispatch/dispatcher.ts";
import { type CreateDispatcher, SimulatedGateway } from "./gateway.ts";
import { goodput, type Measures, measure, reconvergenceS } from "./measures.ts";
import { Oracle } from "./oracle.ts";
import type { Plan } from "./plan.ts";
import { overloadOf, type Scenario, type Story, storyOf } from "./scenario.ts";
import { Simulation } from "./simulation.ts";

/** Of one strategy: one entry for each seed. */
export interface Result {
  readonly runs: readonly Measures[];
  /** Answers per second under overload. */
  readonly goodput: number;
  /** Seconds after each change of the scenario. */
  readonly reconvergenceS: readonly (readonly number[])[];
}

export interface Contest {
  readonly name: string;
  readonly text: string;
  readonly oracle: Result;
  readonly strategies: ReadonlyMap<StrategyName, Result>;
}

export function compete(name: string, scenario: Scenario, plan: Plan): Contest {
  const story = storyOf(scenario, plan.tasks);
  const overload = overloadOf(scenario, plan.overloadTasks);
  const best = plan.seeds.map((seed) => runOracle(story, seed));
  const resultOf = (run: (story: Story, seed: number) => Simulation): Result => {
    const runs = plan.seeds.map((seed) => run(story, seed));
    return {
      runs: runs.map(measure),
      goodput: goodput(run(overload, plan.seeds[0] ?? 0)),
      reconvergenceS: story.changesMs.map((changeMs) =>
        runs.map((each, index) => reconvergenceS(each, best[index] ?? each, changeMs)),
      ),
    };
  };
  const strategies = new Map(
    plan.strategies.map((strategy) => [
      strategy,
      resultOf((of, seed) => runStrategy(of, seed, strategy, plan.mechanisms)),
    ]),
  );
  return { name, text: scenario.txt, oracle: resultOf(runOracle), strategies };
}

export function runOracle(story: Story, seed: number): Simulation {
  return new Simulation(story, seed, (simulation) => new Oracle(simulation)).run();
}

export function runStrategy(
  story: Story,
  seed: number,
  name: StrategyName,
  mechanisms?: Mechanisms,
): Simulation {
  const create = dispatcherFor(name, mechanisms);
  return new Simulation(story, seed, (simulation) => new SimulatedGateway(simulation, create)).run();
}

/** No card's memory is known here, so GPU_MATCH chooses as LEAST_LOADED does. */
function dispatcherFor(name: StrategyName, mechanisms?: Mechanisms): CreateDispatcher {
  const strategy = strategyOf(name);
  return (options) => new Dispatcher({ ...options, strategyFor: () => strategy }, mechanisms);
}

export function strategyOf(name: StrategyName): Strategy {
  const strategy = createStrategies().get(name);
  if (strategy === undefined) throw new RangeError(`There is no strategy ${name}.`);
  return strategy;
}
