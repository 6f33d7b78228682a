/** What each strategy does with three sites at moderate load, and with a site whose line becomes long. */

import { setTimeout as sleep } from "node:timers/promises";
import { STRATEGY_NAMES, type StrategyName } from "@legacygpu/shared/task";
import type { Numbers } from "../report.ts";
import type { Bench } from "../run.ts";
import { loadFor, OpenLoop, type Outcome } from "./load.ts";
import { middle, shareOf, shiftNumbers } from "./shift.ts";
import { SITES, type Sites } from "./sites.ts";

/** Half of what one worker can do. */
export const MODERATE_PER_SECOND = 20;
const DEGRADED_RTT_MS = 300;
/** Above what any healthy site needs, below what the degraded one does. */
const HARMED_MS = 250;

/** @returns whether this gateway knows the strategy. */
export async function use({ cluster }: Sites, strategy: StrategyName): Promise<boolean> {
  return cluster.call("PUT", "/cluster/config/balancing", { strategy }).then(
    () => true,
    () => false,
  );
}

export async function sharesBySite(bench: Bench, sites: Sites): Promise<Record<string, Numbers>> {
  const shares: Record<string, Numbers> = {};
  for (const strategy of STRATEGY_NAMES) {
    if (!(await use(sites, strategy))) {
      bench.say(`this gateway does not know ${strategy}`);
      continue;
    }
    const outcomes = await loadFor(sites.cluster, {
      perSecond: MODERATE_PER_SECOND,
      durationMs: bench.isShort ? 1200 : 8000,
      seed: bench.seed,
    });
    shares[strategy] = { ...bySite(outcomes), p50_ms: middle(outcomes), failed: failures(outcomes) };
  }
  return shares;
}

/** The near site's line grows from 2 to 300 ms. */
export async function degradation(bench: Bench, sites: Sites): Promise<Numbers> {
  const load = new OpenLoop(sites.cluster, MODERATE_PER_SECOND, bench.seed);
  await sleep(bench.isShort ? 1000 : 8000);
  const eventMs = load.elapsedMs;
  sites.links.near.change({ delayMs: DEGRADED_RTT_MS / 2 });
  await sleep(bench.isShort ? 3500 : 60_000);
  const outcomes = await load.end();
  return shiftNumbers({
    outcomes,
    eventMs,
    isTheirs: ({ site }) => site === "near",
    harmedMs: HARMED_MS,
  });
}

export function failures(outcomes: readonly Outcome[]): number {
  return outcomes.filter(({ isCompleted }) => !isCompleted).length;
}

function bySite(outcomes: readonly Outcome[]): Record<string, number> {
  return Object.fromEntries(SITES.map((name) => [name, shareOf(outcomes, ({ site }) => site === name)]));
}
