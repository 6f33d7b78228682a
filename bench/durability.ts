/**
 * Whether anything that was acknowledged is ever lost, or done twice.
 *
 * First with real processes that are killed and stopped and links that break (`durability/`): SIGKILL is kind, since the system keeps
 * what a process has written. Then with power cuts (`power/`), after which only what was synced is sure to be there. `--seed N` repeats the
 * requests and faults of another run.
 */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type LossReport, runLossTest } from "./durability/loss-test.ts";
import { type PowerReport, runPowerTest, whyNoPowerTest } from "./power/power-test.ts";
import type { Numbers } from "./report.ts";
import { type Bench, runBench } from "./run.ts";

/** Of each kind of broken promise, how many are named. */
const MAX_NAMED = 20;

await runBench("durability", async (bench) => {
  const { isShort, folder, seed, say } = bench;
  say(`seed ${seed}`);
  const loss = await runLossTest({
    folder: await subfolder(folder, "loss"),
    start: (options) => bench.startWith(options),
    kills: isShort ? 10 : 100,
    seed,
    say,
  });
  const power = await powerTest(bench);
  return {
    ratios: {},
    counts: { ...lossCounts(loss), ...powerCounts(power) },
    figures: {
      seed,
      executions_per_task: loss.executions.mean,
      most_executions: loss.executions.most,
      failed_by_code: numbersOf(loss.failed),
      refused_by_code: numbersOf(loss.refusals),
    },
    broken: [...brokenIn(loss), ...(power === undefined ? [] : brokenByPower(power))],
  };
});

async function powerTest(bench: Bench): Promise<PowerReport | undefined> {
  const reason = await whyNoPowerTest();
  if (reason !== undefined) {
    bench.say(`skipped: power loss (${reason})`);
    return undefined;
  }
  return runPowerTest({
    folder: await subfolder(bench.folder, "power"),
    start: (options) => bench.startWith(options),
    runs: bench.isShort ? 2 : 10,
    cuts: bench.isShort ? 60 : 100,
    seed: bench.seed,
    say: bench.say,
  });
}

async function subfolder(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  await mkdir(path);
  return path;
}

function lossCounts(loss: LossReport): Numbers {
  const { faults } = loss;
  return {
    accepted: loss.accepted,
    completed: loss.completed,
    lost: loss.lost.length,
    duplicated: loss.duplicated.length,
    wrong: loss.wrong.length,
    late: loss.late.length,
    violations: loss.violations.length,
    failed: sumOf(loss.failed),
    refused: sumOf(loss.refusals),
    unknown: loss.unknown,
    kills: faults.kills,
    agent_kills: faults.agentKills,
    agent_stops: faults.agentStops,
    link_cuts: faults.linkCuts,
    link_freezes: faults.linkFreezes,
    client_cuts: faults.clientCuts,
  };
}

function powerCounts(power: PowerReport | undefined): Numbers {
  return {
    power_cuts: power?.cuts ?? 0,
    power_acknowledged: power?.acknowledged ?? 0,
    power_lost: power?.lost.length ?? 0,
    power_lost_without_syncs: power?.lostWithoutSyncs ?? 0,
  };
}

function brokenIn({ lost, duplicated, wrong, late, violations }: LossReport): string[] {
  return Object.entries({ lost, duplicated, wrong, late, violations }).flatMap(([kind, what]) =>
    named(kind, what),
  );
}

function brokenByPower({ lost, lostWithoutSyncs }: PowerReport): string[] {
  const blind = lostWithoutSyncs === 0 ? ["without any sync nothing was lost: the power test is blind"] : [];
  return [...named("lost with the power", lost), ...blind];
}

function named(kind: string, what: readonly string[]): string[] {
  const more = what.length > MAX_NAMED ? [`${kind}: and ${what.length - MAX_NAMED} more`] : [];
  return [...what.slice(0, MAX_NAMED).map((sentence) => `${kind}: ${sentence}`), ...more];
}

function numbersOf(counts: ReadonlyMap<string, number>): Numbers {
  return Object.fromEntries(counts);
}

function sumOf(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}
