/**
 * What a decision costs on the clock of this machine: the real dispatcher in front of n simulated workers at 40 sites, of six speeds, at 85 % load.
 *
 * `pick` is the choice of a worker alone, `cycle` all that the dispatcher does for a task: arrival, round, choice, sending and answer. The first
 * tasks do not count: nobody knows the workers then. Nor does what comes after the last arrival, when the whole fleet finishes what it holds.
 */

import type { StrategyName } from "@legacygpu/shared/task";
import { Dispatcher } from "../../gateway/dispatch/dispatcher.ts";
import type { FleetWorker } from "../../gateway/dispatch/fleet-worker.ts";
import type { Flight, FlightPurpose } from "../../gateway/dispatch/flight.ts";
import type { DispatcherOptions, DispatchTask, Report } from "../../gateway/dispatch/ports.ts";
import { strategyOf } from "./contest.ts";
import { SimulatedGateway } from "./gateway.ts";
import { RandomStream } from "./random.ts";
import { capacityPerMs, type Story } from "./scenario.ts";
import { Simulation } from "./simulation.ts";

const SITES = 40;
const SPEEDS = [1, 1.4, 2, 2.8, 4, 5.6] as const;
const SERVICE_MS = 75;
const LOAD = 0.85;
const COUNTED_TASKS = 4000;
/** Until nearly every worker is known. */
const FIRST_TASKS_PER_WORKER = 2.5;
const LEAST_FIRST_TASKS = 2000;

export interface PickCost {
  readonly pickUs: number;
  readonly cycleUs: number;
}

export function pickCost(name: StrategyName, workers: number, seed: number): PickCost {
  const story = crowd(workers, seed);
  const strategy = strategyOf(name);
  const stopwatch = new Stopwatch(story.maxTasks - COUNTED_TASKS, story.maxTasks);
  const create = (options: Omit<DispatcherOptions, "strategyFor">): Dispatcher =>
    new TimedDispatcher({ ...options, strategyFor: () => strategy }, stopwatch);
  new Simulation(story, seed, (simulation) => new SimulatedGateway(simulation, create)).run();
  return stopwatch.cost;
}

function crowd(count: number, seed: number): Story {
  const random = new RandomStream(seed, 0);
  const sites = Array.from({ length: SITES }, () => ({ rtt: 2 + 200 * random.next() ** 2 }));
  const workers = Array.from({ length: count }, () => {
    const cls = Math.floor(random.next() * SPEEDS.length);
    return { site: Math.floor(random.next() * SITES), cls, speed: SPEEDS[cls] ?? 1 };
  });
  const world = { sites, models: [{ S: SERVICE_MS, share: 1 }], workers };
  const ratePerMs = LOAD * capacityPerMs({ txt: "", rho: LOAD, make: () => world });
  const maxTasks = COUNTED_TASKS + Math.max(LEAST_FIRST_TASKS, FIRST_TASKS_PER_WORKER * count);
  // Long enough for all of them; pings are no decisions.
  const durationMs = (2 * maxTasks) / ratePerMs;
  const pingEvery = 2 * durationMs;
  return {
    ...world,
    pingEvery,
    durationMs,
    ratePerMs,
    warmMs: 0,
    changesMs: [],
    maxTasks,
    isCutOff: true,
  };
}

class Stopwatch {
  readonly #fromTask: number;
  readonly #toTask: number;
  #tasks = 0;
  #picks = 0;
  #pickMs = 0;
  #cycleMs = 0;

  constructor(fromTask: number, toTask: number) {
    this.#fromTask = fromTask;
    this.#toTask = toTask;
  }

  get cost(): PickCost {
    return {
      pickUs: (1000 * this.#pickMs) / this.#picks,
      cycleUs: (1000 * this.#cycleMs) / (this.#tasks - this.#fromTask),
    };
  }

  get #isCounting(): boolean {
    return this.#tasks > this.#fromTask && this.#tasks < this.#toTask;
  }

  task(): void {
    this.#tasks += 1;
  }

  time<Value>(action: () => Value): Value {
    const startedMs = performance.now();
    const value = action();
    if (this.#isCounting) this.#cycleMs += performance.now() - startedMs;
    return value;
  }

  timePick<Value>(action: () => Value): Value {
    const startedMs = performance.now();
    const value = action();
    if (this.#isCounting) {
      const tookMs = performance.now() - startedMs;
      this.#picks += 1;
      this.#pickMs += tookMs;
      this.#cycleMs += tookMs;
    }
    return value;
  }
}

class TimedDispatcher extends Dispatcher {
  readonly #stopwatch: Stopwatch;

  constructor(options: DispatcherOptions, stopwatch: Stopwatch) {
    super(options);
    this.#stopwatch = stopwatch;
  }

  override arrived(task: DispatchTask): void {
    this.#stopwatch.task();
    this.#stopwatch.time(() => super.arrived(task));
  }

  override answered(flight: Flight, report: Report): void {
    this.#stopwatch.time(() => super.answered(flight, report));
  }

  override beginRound(waiting: number): boolean {
    return this.#stopwatch.time(() => super.beginRound(waiting));
  }

  override choose(task: DispatchTask): FleetWorker | undefined {
    return this.#stopwatch.timePick(() => super.choose(task));
  }

  override send(task: DispatchTask, worker: FleetWorker, purpose: FlightPurpose): Flight {
    return this.#stopwatch.time(() => super.send(task, worker, purpose));
  }

  override endRound(): void {
    this.#stopwatch.time(() => super.endRound());
  }
}
