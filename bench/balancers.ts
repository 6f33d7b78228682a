/**
 * How good the balancing strategies are: the gateway's own dispatcher on a virtual clock, in thirteen worlds, against an oracle that knows the truth about
 * every worker. The same tasks for all of them.
 *
 * `ratios.SCENARIO.STRATEGY`: strategy / oracle, of the latency that clients see (an error counts as the 30 s after which they give up) and of
 * the answers per second when half as many tasks again come as can be done; of several seeds the least, the geometric mean and the most.
 * `ratios.overall` is the same over the scenarios. `figures.pick_us_N`: what it costs ADAPTIVE to choose among N workers; `cycle_us` is all that the
 * dispatcher does for a task. `figures.reconvergence_s`: how long after a change the p90 is near the oracle's again; when it never is, the time left.
 *
 * `--scenario S1,S9`, `--strategy ADAPTIVE,LATENCY`, `--seed N`, `--scenarios FILE` for worlds from elsewhere, `--without PART,PART` for ADAPTIVE
 * without some of its parts, `--ablation` for what each of them is worth.
 */

import { ablate, ablationRatios, ablationTable } from "./balancers/ablation.ts";
import { type Contest, compete } from "./balancers/contest.ts";
import { countsOf, figuresOf, type PickCosts, ratiosOf } from "./balancers/findings.ts";
import { pickCost } from "./balancers/pick-cost.ts";
import { OPTIONS, type Plan, planOf } from "./balancers/plan.ts";
import { contestTable, overallTable } from "./balancers/tables.ts";
import type { Findings } from "./report.ts";
import { type Bench, runBench } from "./run.ts";

const PICK_SEED = 7;

function measurePicks({ strategies, fleets }: Plan): PickCosts {
  return new Map(
    strategies.map((name) => [
      name,
      new Map(fleets.map((workers) => [workers, pickCost(name, workers, PICK_SEED)])),
    ]),
  );
}

async function measure(bench: Bench): Promise<Findings> {
  const plan = await planOf(bench);
  bench.say(`seeds ${plan.seeds.join(", ")}\n`);
  const contests: Contest[] = [];
  for (const [name, scenario] of Object.entries(plan.scenarios)) {
    const contest = compete(name, scenario, plan);
    contests.push(contest);
    bench.say(contestTable(contest));
  }
  bench.say(overallTable(contests));
  const variants = plan.isAblation ? ablate(plan) : [];
  if (plan.isAblation) bench.say(ablationTable(variants));
  return {
    ratios: { ...ratiosOf(contests), ...(plan.isAblation ? { ablation: ablationRatios(variants) } : {}) },
    counts: countsOf(contests),
    figures: { seed: plan.seeds[0] ?? 0, ...figuresOf(contests, measurePicks(plan)) },
  };
}

await runBench("balancers", measure, OPTIONS);
