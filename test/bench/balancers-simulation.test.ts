/** What has to hold in every simulated world, under every strategy. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { STRATEGY_NAMES } from "@legacygpu/shared/task";
import fc from "fast-check";
import { runOracle, runStrategy } from "../../bench/balancers/contest.ts";
import { latencyMs, measure } from "../../bench/balancers/measures.ts";
import { type Scenario, type ScriptEvent, type Story, storyOf } from "../../bench/balancers/scenario.ts";
import { SCENARIOS } from "../../bench/balancers/scenarios.ts";
import { Simulation } from "../../bench/balancers/simulation.ts";
import { FirstFree } from "../support/first-free-policy.ts";

/** Everything that can befall a worker befalls one. */
const TROUBLE: Scenario = {
  txt: "trouble",
  rho: 0.5,
  make: (durationMs) => ({
    sites: [{ rtt: 5, spikeP: 0.01 }, { rtt: 60 }],
    models: [
      { S: 40, share: 3, loadMs: 300 },
      { S: 90, share: 1, loadMs: 300 },
    ],
    workers: Array.from({ length: 10 }, (_, i) => ({
      site: i % 2,
      slots: 1 + (i % 2),
      cont: 0.1,
      ...(i > 6 ? { cap: 1, resident: [i % 2] } : {}),
      ...(i === 5 ? { batchMax: 4 } : {}),
    })),
    script: [
      { at: 0.1 * durationMs, do: "slow", x: 4, workers: [0] },
      { at: 0.2 * durationMs, do: "gray", workers: [1] },
      { at: 0.2 * durationMs, do: "errp", x: 0.2, workers: [2] },
      { at: 0.2 * durationMs, do: "hole", workers: [3] },
      { at: 0.3 * durationMs, do: "die", workers: [4, 7] },
      { at: 0.5 * durationMs, do: "rejoin", workers: [4, 3] },
      { at: 0.6 * durationMs, do: "ok", workers: [1, 2] },
    ],
  }),
};

type Run = (story: Story, seed: number) => Simulation;

const RUNS = new Map<string, Run>([
  ["ORACLE", runOracle],
  ...STRATEGY_NAMES.map((name) => [name, (story, seed) => runStrategy(story, seed, name)] as [string, Run]),
]);

const endsOf = ({ tasks }: Simulation): number[] => tasks.map(({ endedAtMs }) => endedAtMs);

describe("a simulation", () => {
  const story = storyOf(TROUBLE, 1500);

  for (const [name, run] of RUNS)
    test(`under ${name} ends every task once, and goes the same way again`, () => {
      const once = run(story, 11);
      assert.ok(once.tasks.length > 1000);
      assert.deepEqual(new Set(once.tasks.map(({ endings }) => endings)), new Set([1]));
      assert.ok(once.tasks.every(({ attempts }) => attempts.length === 0));
      assert.deepEqual(endsOf(once), endsOf(run(story, 11)));
    });

  test("goes another way with another seed", () => {
    assert.notDeepEqual(endsOf(runOracle(story, 11)), endsOf(runOracle(story, 12)));
  });

  test("brings the same tasks to every strategy", () => {
    const [first, ...others] = [...RUNS.values()].map((run) => run(story, 5).tasks.map(({ plan }) => plan));
    for (const other of others) assert.deepEqual(other, first);
  });

  test("ends every task once whatever befalls its workers", () => {
    const what = fc.constantFrom<ScriptEvent["do"]>("slow", "gray", "errp", "ok", "hole", "die", "rejoin");
    const event = fc.record({
      at: fc.double({ min: 0, max: 5000, noNaN: true }),
      do: what,
      worker: fc.nat(3),
    });
    const strategy = fc.constantFrom(...RUNS.values());
    fc.assert(
      fc.property(fc.array(event, { maxLength: 12 }), strategy, fc.nat(1000), (events, run, seed) => {
        const { make } = TROUBLE;
        const script = possible(events).map(({ worker, ...rest }) => ({
          ...rest,
          x: 0.5,
          workers: [worker],
        }));
        const world = { ...make(5000), script };
        const calm = { ...storyOf(TROUBLE, 1), ...world, durationMs: 5000, ratePerMs: 0.02 };
        const { tasks } = run(calm, seed);
        assert.ok(tasks.every(({ endings, attempts }) => endings === 1 && attempts.length === 0));
      }),
      { numRuns: 30 },
    );
  });
});

interface Trouble {
  readonly at: number;
  readonly do: ScriptEvent["do"];
  readonly worker: number;
}

/** What a silent worker has swallowed is gone: it comes back by a new connection only, or not at all. */
function possible(events: readonly Trouble[]): Trouble[] {
  const silent = new Set<number>();
  return events
    .toSorted((a, b) => a.at - b.at)
    .filter((event) => {
      const isWayOut = event.do === "die" || event.do === "rejoin";
      if (silent.has(event.worker) && !isWayOut) return false;
      if (event.do === "hole") silent.add(event.worker);
      if (isWayOut) silent.delete(event.worker);
      return true;
    });
}

describe("a simulated worker", () => {
  const story = (workers: Story["workers"], more: Partial<Story> = {}): Story => ({
    sites: [{ rtt: 20, jitter: 0 }],
    models: [{ S: 50, sigma: 0, share: 1, loadMs: 700 }],
    workers,
    hiShare: 0,
    durationMs: 20_000,
    ratePerMs: 0.002,
    warmMs: 0,
    changesMs: [],
    maxTasks: 1,
    isCutOff: false,
    ...more,
  });
  const run = (of: Story): Simulation =>
    new Simulation(of, 2, (simulation) => new FirstFree(simulation)).run();

  /** Of a task alone. */
  function firstMs(of: Story): number {
    const [task] = run(of).tasks;
    assert.ok(task !== undefined);
    return latencyMs(task);
  }

  const usualMs = firstMs(story([{ site: 0 }]));

  test("takes the round trip and the service time, a third more or less", () => {
    assert.ok(usualMs > 20 + 50 / 1.4 && usualMs < 20 + 50 * 1.4, `${usualMs} ms`);
  });

  test("loads a model that it does not have first", () => {
    const coldMs = firstMs(story([{ site: 0, cap: 1, resident: [] }]));
    assert.ok(Math.abs(coldMs - usualMs - 700) < 1e-6, `${coldMs} ms`);
  });

  test("is as slow as its speed and its story say", () => {
    const script: ScriptEvent[] = [{ at: 0, do: "slow", x: 2, workers: [0] }];
    const slowMs = firstMs(story([{ site: 0, speed: 3 }], { script }));
    assert.ok(Math.abs(slowMs - 20 - 6 * (usualMs - 20)) < 1e-6, `${slowMs} ms`);
  });

  test("fails a task for good when it fails it twice", () => {
    const script: ScriptEvent[] = [{ at: 0, do: "gray", workers: [0] }];
    const { tasks } = run(story([{ site: 0 }], { script }));
    assert.deepEqual([tasks[0]?.state, tasks[0]?.failures], ["failed", 2]);
  });

  test("that has fallen silent loses what it holds after the heartbeat, and another one has it", () => {
    const script: ScriptEvent[] = [{ at: 0, do: "hole", workers: [0] }];
    const [task] = run(story([{ site: 0 }, { site: 0 }], { script, maxTasks: 1 })).tasks;
    assert.ok(task !== undefined && task.state === "done" && task.failures === 0);
    assert.ok(latencyMs(task) > 10_000 && latencyMs(task) < 16_000, `${latencyMs(task)} ms`);
  });

  test("makes one run of the tasks that wait", () => {
    const crowd = { ratePerMs: 10, maxTasks: 9, isCutOff: false };
    const oneByOne = run(story([{ site: 0 }], crowd));
    const busyMs = ({ workers }: Simulation): number => workers[0]?.busyMs ?? 0;
    const batched = runStrategy(story([{ site: 0, batchMax: 8, batchBeta: 0 }], crowd), 2, "ADAPTIVE");
    assert.ok(busyMs(batched) < busyMs(oneByOne), `${busyMs(batched)} ms of ${busyMs(oneByOne)} ms`);
  });
});

describe("the oracle", () => {
  // A yardstick that changes makes all that was measured with it worthless.
  for (const [name, meanMs] of Object.entries({
    "S3-three-sites": 157.09,
    "S8-cold-start": 114.53,
    "S9-affinity": 109.18,
    "S12-microbatch": 178.04,
    "S13-recovery": 148.79,
  }))
    test(`takes ${meanMs} ms in ${name}`, () => {
      const scenario = SCENARIOS[name];
      assert.ok(scenario !== undefined);
      const measured = measure(runOracle(storyOf(scenario, 4500), 7)).meanMs;
      assert.ok(Math.abs(measured / meanMs - 1) < 0.02, `${measured} ms`);
    });
});
