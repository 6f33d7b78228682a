/** The five strategies. They hold next to nothing: what has been learned is the dispatcher's, and stays when they are switched. */

import type { StrategyName } from "@legacygpu/shared/task";
import { Adaptive } from "./adaptive.ts";
import { GpuMatch } from "./gpu-match.ts";
import { Latency } from "./latency.ts";
import { LeastLoaded } from "./least-loaded.ts";
import { RoundRobin } from "./round-robin.ts";
import type { Strategy } from "./strategy.ts";

export function createStrategies(): ReadonlyMap<StrategyName, Strategy> {
  const all = [new RoundRobin(), new LeastLoaded(), new GpuMatch(), new Latency(), new Adaptive()];
  return new Map(all.map((strategy) => [strategy.name, strategy]));
}
