/** What comes out of a run, as its clients see it. */

import type { SimTask } from "./attempt.ts";
import { DEADLINE_MS, type Simulation } from "./simulation.ts";

const BIN_MS = 2000;
/** So near to the oracle, for so many bins in a row, a strategy has found its way again. */
const NEAR_RATIO = 1.3;
const NEAR_MS = 15;
const NEAR_BINS = 3;

export interface Measures {
  readonly tasks: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  /** Tasks without a result in time. */
  readonly errors: number;
  /** Copies per task. */
  readonly duplicates: number;
  /** Share of the time of all runs. */
  readonly wasted: number;
}

export function measure({ tasks, story, tally, workers }: Simulation): Measures {
  const latencies = tasks.filter(({ plan }) => plan.arrivedAtMs >= story.warmMs).map(latencyMs);
  const sorted = Float64Array.from(latencies).sort();
  const sumMs = latencies.reduce((sum, latency) => sum + latency, 0);
  const busyMs = workers.reduce((sum, worker) => sum + worker.busyMs, 0);
  return {
    tasks: sorted.length,
    meanMs: sumMs / sorted.length,
    p50Ms: quantile(sorted, 0.5),
    p99Ms: quantile(sorted, 0.99),
    p999Ms: quantile(sorted, 0.999),
    errors: latencies.filter((latency) => latency >= DEADLINE_MS).length,
    duplicates: tally.copies / tasks.length,
    wasted: tally.wastedMs / Math.max(1, busyMs),
  };
}

/** Answers per second, the beginning left out. */
export function goodput({ tasks, story }: Simulation): number {
  const { warmMs, durationMs } = story;
  const isCounted = ({ state, endedAtMs }: SimTask): boolean =>
    state === "done" && endedAtMs > warmMs && endedAtMs <= durationMs;
  return tasks.filter(isCounted).length / ((durationMs - warmMs) / 1000);
}

/** An error counts as the deadline. */
export function latencyMs({ state, endedAtMs, plan }: SimTask): number {
  return state === "done" ? Math.min(DEADLINE_MS, endedAtMs - plan.arrivedAtMs) : DEADLINE_MS;
}

/**
 * How long after a change the p90 comes near the oracle's and stays there.
 *
 * @returns seconds; when it never does, those until the end.
 */
export function reconvergenceS(run: Simulation, oracle: Simulation, changeMs: number): number {
  const ours = p90s(run);
  const best = p90s(oracle);
  const bins = Math.min(ours.length, best.length);
  let near = 0;
  for (let bin = Math.ceil(changeMs / BIN_MS); bin < bins; bin += 1) {
    const here = ours[bin];
    const there = best[bin];
    if (here === undefined || there === undefined) near = 0;
    else if (here <= Math.max(NEAR_RATIO * there, there + NEAR_MS)) near += 1;
    else near = 0;
    if (near === NEAR_BINS) return Math.max(0, (bin - NEAR_BINS + 1) * BIN_MS - changeMs) / 1000;
  }
  return (run.story.durationMs - changeMs) / 1000;
}

/** By the time of arrival. */
function p90s({ tasks }: Simulation): (number | undefined)[] {
  const bins: number[][] = [];
  for (const task of tasks) {
    const bin = Math.floor(task.plan.arrivedAtMs / BIN_MS);
    bins[bin] ??= [];
    bins[bin].push(latencyMs(task));
  }
  return Array.from(bins, (bin) => bin && quantile(Float64Array.from(bin).sort(), 0.9));
}

export function quantile(sorted: Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
