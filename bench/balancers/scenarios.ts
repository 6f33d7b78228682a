/** The thirteen worlds that every strategy has to live in. */

import type { ModelSpec, Scenario, WorkerSpec } from "./scenario.ts";

const workers = (count: number, spec: (index: number) => WorkerSpec): WorkerSpec[] =>
  Array.from({ length: count }, (_, index) => spec(index));

const MIX: readonly ModelSpec[] = [
  { S: 40, sigma: 0.35, share: 5 },
  { S: 90, sigma: 0.4, share: 3 },
  { S: 250, sigma: 0.5, share: 1 },
];

/** Of four generations of cards. */
const GENERATIONS = [1, 2, 4, 8] as const;
const generation = (index: number): number => GENERATIONS[index % 4] ?? 1;

const ZIPF = [8, 4, 3, 2, 2, 1, 1, 1] as const;
const ZIPF_LATER = [1, 1, 8, 4, 1, 3, 2, 2] as const;

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  "S1-lan-homog": {
    txt: "16 equal workers in one place, RTT 1 ms, load 80 %",
    rho: 0.8,
    make: () => ({ sites: [{ rtt: 1 }], models: MIX, workers: workers(16, () => ({ site: 0 })) }),
  },

  "S2-hetero-gpu": {
    txt: "16 workers of four generations, each half as fast as the one before, RTT 4 ms, load 75 %",
    rho: 0.75,
    make: () => ({
      sites: [{ rtt: 4 }],
      models: MIX,
      workers: workers(16, (i) => ({
        site: 0,
        cls: i % 4,
        speed: generation(i),
        slots: i % 4 === 0 ? 2 : 1,
      })),
    }),
  },

  "S3-three-sites": {
    txt: "five equal workers at each of three sites, RTT 2, 40 and 180 ms, load 80 %",
    rho: 0.8,
    make: () => ({
      sites: [{ rtt: 2 }, { rtt: 40 }, { rtt: 180 }],
      models: MIX,
      workers: workers(15, (i) => ({ site: i % 3 })),
    }),
  },

  "S4-rtt-flip": {
    txt: "the near site becomes the far one and the far one the near, load 55 %",
    rho: 0.55,
    change: 0.4,
    make: (durationMs) => ({
      sites: [
        { rtt: (atMs) => (atMs < 0.4 * durationMs ? 10 : 140) },
        { rtt: (atMs) => (atMs < 0.4 * durationMs ? 120 : 10) },
      ],
      models: MIX,
      workers: workers(14, (i) => ({ site: i % 2 })),
    }),
  },

  "S5-slowdown": {
    txt: "3 of 12 workers are five times slower for a while, load 60 %",
    rho: 0.6,
    change: 0.35,
    change2: 0.7,
    make: (durationMs) => ({
      sites: [{ rtt: 20 }],
      models: MIX,
      workers: workers(12, () => ({ site: 0 })),
      script: [
        { at: 0.35 * durationMs, do: "slow", x: 5, workers: [0, 1, 2] },
        { at: 0.7 * durationMs, do: "slow", x: 1, workers: [0, 1, 2] },
      ],
    }),
  },

  "S6-gray": {
    txt: "2 of 12 workers fail everything within 5 ms for a while, load 60 %",
    rho: 0.6,
    change: 0.3,
    make: (durationMs) => ({
      sites: [{ rtt: 10 }, { rtt: 40 }],
      models: MIX,
      workers: workers(12, (i) => ({ site: i % 2 })),
      script: [
        { at: 0.3 * durationMs, do: "gray", workers: [0, 1] },
        { at: 0.7 * durationMs, do: "ok", workers: [0, 1] },
      ],
    }),
  },

  "S7-burst95": {
    txt: "bursts: 0.75 of the rate for 2 s, 1.5 of it for 1 s on average; load 95 %, two sites, two speeds",
    rho: 0.95,
    make: () => ({
      sites: [{ rtt: 5 }, { rtt: 60 }],
      models: MIX,
      workers: workers(16, (i) => ({ site: i % 2, cls: (i >> 1) % 2, speed: (i >> 1) % 2 === 1 ? 2 : 1 })),
      burst: { lowMs: 2000, highMs: 1000, low: 0.75, high: 1.5 },
    }),
  },

  "S8-cold-start": {
    txt: "20 unknown workers, speeds 1 to 8, models not loaded, come to 5 that are warm; load 60 % of all",
    rho: 0.6,
    warm: 0,
    change: 0.15,
    make: (durationMs) => ({
      sites: [{ rtt: 10 }, { rtt: 70 }],
      models: MIX.map((model) => ({ ...model, loadMs: 1500 })),
      workers: workers(25, (i) =>
        i < 5
          ? { site: 0, speed: 1, cls: 0, slots: 2 }
          : {
              site: i % 2,
              cls: i % 4,
              speed: generation(i) * (1 + (0.2 * (((i * 7) % 5) - 2)) / 2),
              joinAt: 0.15 * durationMs,
              cap: 3,
              resident: [],
            },
      ),
      rateFn: (atMs) => (atMs < 0.15 * durationMs ? 0.5 : 1),
    }),
  },

  "S9-affinity": {
    txt: "8 models, each worker has room for 2, loading takes 1.2 s; another model becomes the popular one; load 55 %",
    rho: 0.55,
    change: 0.5,
    make: (durationMs) => ({
      sites: [{ rtt: 8 }, { rtt: 30 }],
      models: ZIPF.map((share, i) => ({ S: 40 + 20 * (i % 3), sigma: 0.4, share, loadMs: 1200 })),
      workers: workers(16, (i) => ({ site: i % 2, cap: 2, resident: [i % 8, (i * 3 + 1) % 8] })),
      shareFn: (atMs) => (atMs < 0.5 * durationMs ? ZIPF : ZIPF_LATER),
    }),
  },

  "S10-blackhole": {
    txt: "1 of 10 workers falls silent, later another one dies; load 55 %",
    rho: 0.55,
    change: 0.4,
    make: (durationMs) => ({
      sites: [{ rtt: 15 }, { rtt: 60 }],
      models: MIX,
      workers: workers(10, (i) => ({ site: i % 2 })),
      script: [
        { at: 0.4 * durationMs, do: "hole", workers: [0] },
        { at: 0.6 * durationMs, do: "die", workers: [3] },
      ],
    }),
  },

  "S11-short-far": {
    txt: "tasks of 12 ms, every worker 150 ms away, load 80 %",
    rho: 0.8,
    make: () => ({
      sites: [{ rtt: 150 }],
      models: [{ S: 12, sigma: 0.4, share: 1 }],
      workers: workers(6, () => ({ site: 0, slots: 1 })),
    }),
  },

  "S12-microbatch": {
    txt: "6 workers that make batches of up to 8, RTT 30 ms, load 75 % of what full batches would do",
    rho: 0.75,
    make: () => ({
      sites: [{ rtt: 30 }],
      models: [{ S: 60, sigma: 0.3, share: 1 }],
      workers: workers(6, () => ({ site: 0, batchMax: 8, batchBeta: 0.15 })),
    }),
  },

  "S13-recovery": {
    txt: "3 fast workers and 9 that are four times slower; the fast ones are ten times slower for a while; load 25 %",
    rho: 0.25,
    change: 0.25,
    change2: 0.4,
    make: (durationMs) => ({
      sites: [{ rtt: 20 }],
      models: MIX,
      workers: workers(12, (i) => ({ site: 0, cls: i < 3 ? 0 : 1, speed: i < 3 ? 1 : 4 })),
      script: [
        { at: 0.25 * durationMs, do: "slow", x: 10, workers: [0, 1, 2] },
        { at: 0.4 * durationMs, do: "slow", x: 1, workers: [0, 1, 2] },
      ],
    }),
  },
};
