/** What the balancers' bench takes and gives: its options, scenarios from elsewhere, and its numbers. */

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type Contest, compete } from "../../bench/balancers/contest.ts";
import { countsOf, figuresOf, ratiosOf } from "../../bench/balancers/findings.ts";
import { geometricMean, goodput, reconvergenceS } from "../../bench/balancers/measures.ts";
import { pickCost } from "../../bench/balancers/pick-cost.ts";
import { type Plan, planOf } from "../../bench/balancers/plan.ts";
import { capacityPerMs, overloadOf, type Story, storyOf } from "../../bench/balancers/scenario.ts";
import { readScenarios } from "../../bench/balancers/scenario-file.ts";
import { SCENARIOS } from "../../bench/balancers/scenarios.ts";
import { Simulation } from "../../bench/balancers/simulation.ts";
import { contestTable, overallTable } from "../../bench/balancers/tables.ts";
import { makeReport } from "../../bench/report.ts";
import type { Bench } from "../../bench/run.ts";
import { FirstFree } from "../support/first-free-policy.ts";

const plan = (options: Bench["options"], isShort = true): Promise<Plan> =>
  planOf({ isShort, options, seed: 99 } as Bench);

describe("the options", () => {
  test("name scenarios by how they begin, and S1 is not S10", async () => {
    const { scenarios } = await plan({ scenario: "S1,S9-affinity" });
    assert.deepEqual(Object.keys(scenarios), ["S1-lan-homog", "S9-affinity"]);
  });

  test("leave everything in unless they say otherwise", async () => {
    const { scenarios, strategies, seeds, mechanisms } = await plan({}, false);
    assert.equal(Object.keys(scenarios).length, 13);
    assert.equal(strategies.length, 5);
    assert.deepEqual(seeds, [7, 108, 209]);
    assert.ok(Object.values(mechanisms).every((isOn) => isOn));
  });

  test("choose strategies, the seed, and what ADAPTIVE does without", async () => {
    const { strategies, seeds, mechanisms } = await plan({
      strategy: "adaptive,LATENCY_BASED",
      seed: "99",
      without: "hedges",
    });
    assert.deepEqual(strategies, ["ADAPTIVE", "LATENCY"]);
    assert.deepEqual(seeds, [99]);
    assert.equal(mechanisms.hedges, false);
    assert.equal(mechanisms.exploration, true);
  });

  test("that name what there is not are refused", async () => {
    await assert.rejects(plan({ scenario: "S99" }), /no scenario S99; there are S1-lan-homog/);
    await assert.rejects(plan({ without: "luck" }), /no part luck; there are hedges/);
    await assert.rejects(plan({ strategy: "BEST" }), { code: "strategy_unknown" });
  });
});

describe("scenarios from elsewhere", () => {
  let folder = "";
  let files = 0;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "legacygpu-scenarios-"));
  });
  after(() => rm(folder, { recursive: true }));

  async function fileWith(source: string): Promise<string> {
    files += 1;
    const file = join(folder, `${files}.mjs`);
    await writeFile(file, source);
    return file;
  }

  test("are simulated as our own are", async () => {
    const file =
      await fileWith(`export const SCENARIOS = { "X1-two": { txt: "two workers", rho: 0.5, make: () => ({
      sites: [{ rtt: () => 30 }], models: [{ S: 40, sigma: 0.3, share: 1 }], workers: [{ site: 0 }, { site: 0, slots: 3 }], burst: null }) } };`);
    const scenario = (await readScenarios(file))["X1-two"];
    assert.ok(scenario !== undefined);
    assert.equal(capacityPerMs(scenario), 0.1);
    const { oracle } = compete("X1-two", scenario, { ...(await plan({ strategy: "LATENCY" })), tasks: 500 });
    assert.ok((oracle.runs[0]?.tasks ?? 0) > 400);
  });

  test("that are none are refused, with the place", async () => {
    await assert.rejects(readScenarios(await fileWith("export const WORLDS = {};")), /SCENARIOS/);
    const file = await fileWith(
      `export const SCENARIOS = { X2: { rho: 0.5, make: () => ({ sites: [{ rtt: "far" }], models: [], workers: [] }) } };`,
    );
    const scenario = (await readScenarios(file)).X2;
    assert.throws(() => scenario?.make(1), /rtt/);
  });
});

describe("the numbers", () => {
  let contests: Contest[] = [];
  before(async () => {
    const small = { ...(await plan({ strategy: "ADAPTIVE,ROUND_ROBIN" })), tasks: 600, overloadTasks: 600 };
    contests = ["S2-hetero-gpu", "S5-slowdown"].map((name) =>
      compete(name, SCENARIOS[name] ?? assert.fail(), small),
    );
  });

  test("have a ratio to the oracle of every strategy in every scenario, and over all of them", () => {
    const { ratios } = makeReport("balancers", { ratios: ratiosOf(contests) });
    for (const group of ["overall", "S2-hetero-gpu", "S5-slowdown"])
      for (const strategy of ["ADAPTIVE", "ROUND_ROBIN"]) {
        const of = (ratios[group] as Record<string, Record<string, number>>)[strategy];
        assert.deepEqual(Object.keys(of ?? {}), ["mean", "p50", "p99", "p999", "throughput"]);
      }
    const meanOf = (group: string): number => ratios.spread[`${group}.ADAPTIVE.mean`]?.[1] ?? Number.NaN;
    const both = geometricMean([meanOf("S2-hetero-gpu"), meanOf("S5-slowdown")]);
    assert.ok(Math.abs(meanOf("overall") / both - 1) < 0.01);
  });

  test("count errors by strategy, and say when each was well again after a change", () => {
    assert.deepEqual(countsOf(contests).client_errors_of, { ADAPTIVE: 0, ROUND_ROBIN: 0 });
    const figures = figuresOf(contests, new Map([["ADAPTIVE", new Map([[10, { pickUs: 1, cycleUs: 2 }]])]]));
    assert.equal(figures.pick_us_10, 1);
    const { "S5-slowdown": slowdown, ...others } = figures.reconvergence_s as Record<string, object>;
    assert.deepEqual(Object.keys(slowdown ?? {}), ["ADAPTIVE", "ROUND_ROBIN", "ORACLE"]);
    assert.deepEqual(others, {});
  });

  test("are shown to people by scenario and over all", () => {
    assert.match(
      contestTable(contests[0] ?? assert.fail()),
      /^S2-hetero-gpu: .*\n\n.*\n.*\nADAPTIVE +\d\.\d\d /,
    );
    assert.match(overallTable(contests), /^All 2 scenarios[\s\S]*\nADAPTIVE +\d\.\d{3}/);
  });

  test("know what a decision costs", () => {
    const { pickUs, cycleUs } = pickCost("ADAPTIVE", 10, 7);
    assert.ok(pickUs > 0 && cycleUs > pickUs);
  });
});

describe("measures", () => {
  const scenario = SCENARIOS["S1-lan-homog"] ?? assert.fail();
  const run = (story: Story): Simulation =>
    new Simulation(story, 7, (simulation) => new FirstFree(simulation)).run();

  test("count as goodput at most what the workers can do, and under overload nearly all of that", () => {
    const story = overloadOf(scenario, 2000);
    const perSecond = 1000 * capacityPerMs(scenario);
    assert.ok(goodput(run(story)) / perSecond > 0.9, `${goodput(run(story))} of ${perSecond}`);
    assert.ok(goodput(run(story)) / perSecond < 1.1, `${goodput(run(story))} of ${perSecond}`);
  });

  test("see re-convergence at once where nothing differs, and never where it always does", () => {
    const story = storyOf(scenario, 1500);
    const calm = run(story);
    assert.equal(reconvergenceS(calm, calm, 6000), 0);
    const far = run({ ...story, sites: [{ rtt: 2000 }] });
    assert.equal(reconvergenceS(far, calm, 6000), (story.durationMs - 6000) / 1000);
  });
});
