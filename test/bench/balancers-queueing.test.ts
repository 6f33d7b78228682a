/** The simulator against what queueing theory says exactly, or nearly so. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { measure } from "../../bench/balancers/measures.ts";
import type { Story } from "../../bench/balancers/scenario.ts";
import { Simulation } from "../../bench/balancers/simulation.ts";
import { FirstFree } from "../support/first-free-policy.ts";

const SERVICE_MS = 50;
const SIGMA = 0.4;
/** Each worker takes a little more or less for a task than the others: sigma 0.12, median 1. */
const OWN_SIGMA = 0.12;
const MEAN_MS = SERVICE_MS * Math.exp(OWN_SIGMA ** 2 / 2);
/** Squared coefficient of variation. */
const VARIATION = Math.exp(SIGMA ** 2 + OWN_SIGMA ** 2) - 1;

function meanLatencyMs(workers: number, load: number, durationMs: number): number {
  const story: Story = {
    sites: [{ rtt: 1e-6, jitter: 0 }],
    models: [{ S: SERVICE_MS, sigma: SIGMA, share: 1 }],
    workers: Array.from({ length: workers }, () => ({ site: 0 })),
    hiShare: 0,
    durationMs,
    ratePerMs: (workers * load) / MEAN_MS,
    warmMs: 0.1 * durationMs,
    changesMs: [],
    maxTasks: Number.POSITIVE_INFINITY,
    isCutOff: false,
  };
  return measure(new Simulation(story, 4, (simulation) => new FirstFree(simulation)).run()).meanMs;
}

/** Erlang's probability that a task has to wait. */
function waitProbability(servers: number, load: number): number {
  const offered = servers * load;
  let term = 1;
  let sum = 0;
  for (let k = 0; k < servers; k += 1) {
    sum += term;
    term *= offered / (k + 1);
  }
  const waiting = term / (1 - load);
  return waiting / (sum + waiting);
}

function isNear(actual: number, expected: number, tolerance: number): void {
  assert.ok(Math.abs(actual / expected - 1) < tolerance, `${actual} ms instead of ${expected} ms`);
}

describe("a simulated queue", () => {
  for (const load of [0.5, 0.8])
    test(`of one worker at load ${load} waits as Pollaczek and Khinchine say`, () => {
      const waitMs = (load * MEAN_MS * (1 + VARIATION)) / (2 * (1 - load));
      isNear(meanLatencyMs(1, load, 5e6), MEAN_MS + waitMs, 0.03);
    });

  test("of eight workers waits as Allen and Cunneen say", () => {
    const load = 0.85;
    const idealMs = (waitProbability(8, load) * MEAN_MS) / (8 * (1 - load));
    isNear(meanLatencyMs(8, load, 6e5), MEAN_MS + (idealMs * (1 + VARIATION)) / 2, 0.05);
  });
});
