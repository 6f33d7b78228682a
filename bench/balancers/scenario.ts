/**
 * What a simulation is about: sites, workers, models, and what befalls them. All times are milliseconds.
 *
 * The names are short because scenarios are written by hand, also outside of this project.
 */

export interface SiteSpec {
  /** Round-trip time, perhaps over time. */
  readonly rtt: number | ((atMs: number) => number);
  /** Sigma of its logarithm; 0.1 unless given. */
  readonly jitter?: number | undefined;
  /** Share of the messages that stall, and for how long on average. */
  readonly spikeP?: number | undefined;
  readonly spikeMs?: number | undefined;
}

export interface ModelSpec {
  /** Mean service time of a task alone on a worker of speed 1. */
  readonly S: number;
  /** Of the logarithm of how much work a task is; 0.4 unless given. */
  readonly sigma?: number | undefined;
  /** Of the tasks, in any unit. */
  readonly share: number;
  /** How long a worker takes to load it. */
  readonly loadMs?: number | undefined;
  /** How many times as long it takes on one worker as the worker's speed would have it. */
  readonly f?: ((worker: WorkerSpec & { readonly id: number }) => number) | undefined;
}

export interface WorkerSpec {
  /** Index of its site. */
  readonly site: number;
  /** 1 unless given. */
  readonly slots?: number | undefined;
  /** How many times as long as S it takes; 1 unless given. */
  readonly speed?: number | undefined;
  /** Its hardware class. */
  readonly cls?: number | undefined;
  readonly joinAt?: number | undefined;
  /** Tasks of a model that run as one, at most, and what each further one adds to the time. */
  readonly batchMax?: number | undefined;
  readonly batchBeta?: number | undefined;
  /** What each run that is under way adds to the time of the next one. */
  readonly cont?: number | undefined;
  /** Models that fit its memory; all are loaded unless given. */
  readonly cap?: number | undefined;
  /** Models in its memory at first. */
  readonly resident?: readonly number[] | undefined;
  /** How many times slower it is, over time. */
  readonly slowFn?: ((atMs: number) => number) | undefined;
}

/**
 * | do     | from then on                                                             |
 * | ------ | ------------------------------------------------------------------------ |
 * | slow   | they take x times as long                                                |
 * | gray   | they answer everything with an error within milliseconds                 |
 * | errp   | they answer the share x with an error                                    |
 * | ok     | neither                                                                  |
 * | hole   | nothing comes back, and nobody is told before the heartbeat              |
 * | die    | their connections break                                                  |
 * | rejoin | they connect again, well                                                 |
 */
export interface ScriptEvent {
  readonly at: number;
  readonly do: "slow" | "gray" | "errp" | "ok" | "hole" | "die" | "rejoin";
  readonly x?: number | undefined;
  readonly workers: readonly number[];
}

/** Arrivals that change between two rates, each for an exponential time. */
export interface BurstSpec {
  readonly lowMs: number;
  readonly highMs: number;
  readonly low: number;
  readonly high: number;
}

/** The world of a scenario. */
export interface WorldSpec {
  readonly sites: readonly SiteSpec[];
  readonly models: readonly ModelSpec[];
  readonly workers: readonly WorkerSpec[];
  readonly script?: readonly ScriptEvent[] | undefined;
  /** Arrival rate over time, against the mean one. */
  readonly rateFn?: ((atMs: number) => number) | undefined;
  /** Shares of the models over time. */
  readonly shareFn?: ((atMs: number) => readonly number[]) | undefined;
  readonly burst?: BurstSpec | undefined;
  /** Share of the tasks that are urgent; 0.1 unless given. */
  readonly hiShare?: number | undefined;
  /** After so much silence a connection is given up; 15 s unless given. */
  readonly hbTimeout?: number | undefined;
  readonly pingEvery?: number | undefined;
  /** 2 unless given. */
  readonly maxAttempts?: number | undefined;
  /** How much slower than they should be the workers are on average. */
  readonly avgSlow?: number | undefined;
}

export interface Scenario {
  readonly txt: string;
  /** Load: arrival rate / capacity. */
  readonly rho: number;
  make(durationMs: number): WorldSpec;
  /** When something changes, as a share of the duration: from there re-convergence is counted. */
  readonly change?: number | undefined;
  readonly change2?: number | undefined;
  /** Share of the duration that is not counted; 0.1 unless given. */
  readonly warm?: number | undefined;
  /** Instead of the number of tasks that is asked for. */
  readonly N?: number | undefined;
  readonly Tmin?: number | undefined;
  /** Tasks of the overloaded run. */
  readonly sat?: number | undefined;
}

/** A scenario with its duration and its load. */
export interface Story extends WorldSpec {
  readonly durationMs: number;
  readonly ratePerMs: number;
  readonly warmMs: number;
  readonly changesMs: readonly number[];
  readonly maxTasks: number;
  /** Nothing is waited for at the end of the duration. */
  readonly isCutOff: boolean;
}

const MIN_DURATION_MS = 20_000;
const MAX_DURATION_MS = 120_000;
const OVERLOAD = 1.5;
const OVERLOAD_MS = 16_000;
const OVERLOAD_TASKS = 9000;

/** At its own load, with about so many tasks. */
export function storyOf(scenario: Scenario, tasks: number): Story {
  const ratePerMs = capacityPerMs(scenario) * scenario.rho;
  const wantedMs = Math.min(MAX_DURATION_MS, (scenario.N ?? tasks) / ratePerMs);
  const durationMs = Math.max(scenario.Tmin ?? MIN_DURATION_MS, wantedMs);
  const changes = [scenario.change, scenario.change2].filter((change) => change !== undefined);
  return {
    ...scenario.make(durationMs),
    durationMs,
    ratePerMs,
    warmMs: (scenario.warm ?? 0.1) * durationMs,
    changesMs: changes.map((change) => change * durationMs),
    maxTasks: Number.POSITIVE_INFINITY,
    isCutOff: false,
  };
}

/** With half as many tasks again as the workers can take, evenly: what they get done is what counts. */
export function overloadOf(scenario: Scenario, mostTasks = OVERLOAD_TASKS): Story {
  const ratePerMs = capacityPerMs(scenario) * OVERLOAD;
  const maxTasks = Math.min(scenario.sat ?? OVERLOAD_TASKS, mostTasks);
  const durationMs = Math.min(OVERLOAD_MS, maxTasks / ratePerMs);
  return {
    ...scenario.make(durationMs),
    burst: undefined,
    rateFn: undefined,
    durationMs,
    ratePerMs,
    warmMs: 0.2 * durationMs,
    changesMs: [],
    maxTasks,
    isCutOff: true,
  };
}

/** Tasks per millisecond of all workers together, every batch full. */
export function capacityPerMs(scenario: Scenario): number {
  // What changes with the duration does not touch the capacity.
  const { models, workers, avgSlow = 1 } = scenario.make(100_000);
  let share = 0;
  let work = 0;
  for (const model of models) {
    share += model.share;
    work += model.share * model.S;
  }
  const meanMs = work / share;
  let capacity = 0;
  for (const { slots = 1, speed = 1, batchMax = 1, batchBeta = 0 } of workers) {
    capacity += (slots * batchMax) / (meanMs * speed * (1 + batchBeta * (batchMax - 1)) * avgSlow);
  }
  return capacity;
}
