/**
 * Decides which worker gets which task, and when: it is told what happens, and says what to send.
 *
 * The queue stays with the caller. In a *round* the caller offers what waits, in its order; each task gets a worker now or stays where it is, because nobody
 * can begin it in time or because a better worker is worth waiting for. A round is due after every event that it was told, and when it
 * calls `wake`.
 */

import type { Timer } from "@legacygpu/shared/clock";
import { every } from "@legacygpu/shared/clock";
import { Arrivals } from "./arrivals.ts";
import type { Choice } from "./choice.ts";
import { ALL_MECHANISMS, Copies, type Mechanisms } from "./copies.ts";
import { believedMs, fitsInto } from "./doubt.ts";
import { explainChoice } from "./explain-choice.ts";
import { Fleet } from "./fleet.ts";
import { FleetWorker } from "./fleet-worker.ts";
import { Flight, type FlightPurpose } from "./flight.ts";
import { addFlight, bookLane, removeFlight } from "./lanes.ts";
import { lastResort } from "./last-resort.ts";
import { LoadPrices } from "./load-prices.ts";
import { type Lot, Market } from "./market.ts";
import { Picker, type PickParts } from "./pick.ts";
import {
  type DispatcherOptions,
  type DispatchTask,
  type Report,
  SMALL_INPUT_BYTES,
  type WorkerFacts,
} from "./ports.ts";
import { Speeds } from "./speeds.ts";
import { Watch } from "./watch.ts";

const LOOK_EVERY_MS = 200;
const SWEEP_EVERY_MS = 10_000;
const MIN_SLEEP_MS = 2;
const MAX_SLEEP_MS = 250;
/** Of all slots; when so many tasks wait, workers are fed as early as their credit allows. */
const FULL_PRESSURE_SHARE = 0.25;

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #speeds = new Speeds();
  readonly #fleet: Fleet;
  readonly #arrivals: Arrivals;
  readonly #loadPrices: LoadPrices;
  readonly #pickParts: PickParts;
  readonly #picker: Picker;
  readonly #copies: Copies;
  readonly #markets = new Map<string, Market>();
  readonly #watch: Watch;
  readonly #booked: FleetWorker[] = [];
  readonly #timers: readonly Timer[];
  #sleep: { readonly timer: Timer; readonly atMs: number } | undefined;
  #pressure = 0;
  #lastSerial = 0;
  /** Of this round: tasks that have not been offered yet, or were not taken. */
  #left = 0;
  #waiting = 0;

  constructor(options: DispatcherOptions, mechanisms: Mechanisms = ALL_MECHANISMS) {
    const { clock } = options;
    this.#options = options;
    this.#fleet = new Fleet(this.#speeds);
    this.#watch = new Watch(options, this.#fleet);
    this.#arrivals = new Arrivals(clock.monotonic());
    this.#loadPrices = new LoadPrices(this.#fleet, this.#arrivals);
    this.#pickParts = {
      options,
      fleet: this.#fleet,
      speeds: this.#speeds,
      loadPrices: this.#loadPrices,
    };
    this.#picker = new Picker(this.#pickParts);
    this.#copies = new Copies({
      options,
      fleet: this.#fleet,
      speeds: this.#speeds,
      marketFor: (task) => this.#openMarketFor(task),
      waiting: () => this.#waiting,
      mechanisms,
    });
    this.#timers = [
      every(clock, LOOK_EVERY_MS, () => this.#look()),
      every(clock, SWEEP_EVERY_MS, () => this.#sweep()),
    ];
  }

  close(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#sleep?.timer.cancel();
    this.#copies.close();
  }

  // ---- what has happened

  join(facts: WorkerFacts): FleetWorker {
    const nowMs = this.#options.clock.monotonic();
    this.#lastSerial += 1;
    const worker = new FleetWorker(facts, this.#lastSerial, nowMs);
    this.#fleet.add(worker, nowMs);
    return worker;
  }

  /** @returns what it held; nothing more comes of that. */
  leave(worker: FleetWorker): Flight[] {
    const held = [...worker.flights];
    for (const flight of held) this.#end(flight, false);
    worker.isAvailable = false;
    worker.health.isSilent = false;
    this.#watch.left(worker);
    this.#fleet.remove(worker, this.#options.clock.monotonic());
    return held;
  }

  /** Whether it takes tasks: not while it has no link, nor while it only finishes what it holds. */
  setAvailable(worker: FleetWorker, isAvailable: boolean): void {
    worker.isAvailable = isAvailable;
    this.changed(worker);
  }

  /** What its facts say has changed. */
  changed(worker: FleetWorker): void {
    this.#fleet.refresh(worker, this.#options.clock.monotonic());
  }

  /** @param models in its memory, least recently used first */
  residents(worker: FleetWorker, models: readonly string[]): void {
    worker.residency.told(
      models,
      worker.flights.map(({ task }) => task.model),
    );
    this.changed(worker);
  }

  /** @param untilMs the models that it does not take tasks of for a while. It takes all others. */
  refusals(worker: FleetWorker, untilMs: ReadonlyMap<string, number>): void {
    worker.refuseOnly(untilMs);
    this.changed(worker);
  }

  /** A sign of life. */
  heard(worker: FleetWorker): void {
    worker.health.heard(this.#options.clock.monotonic());
  }

  pinged(worker: FleetWorker): void {
    worker.health.pinged(this.#options.clock.monotonic());
  }

  /** A new task has entered the queue. */
  arrived(task: DispatchTask): void {
    this.#arrivals.note(task.model, this.#options.clock.monotonic());
  }

  /** The worker has answered, also when its task has ended elsewhere. */
  answered(flight: Flight, report: Report): void {
    if (flight.isOver) return;
    const { clock } = this.#options;
    const nowMs = clock.monotonic();
    const { worker, task } = flight;
    worker.health.heard(nowMs);
    const executeMs = believedMs(flight, report, nowMs);
    this.#end(flight, report.isOk);
    if (report.isOk) {
      if (worker.health.succeeded(nowMs - worker.oneWayMs, flight.sentAtMs)) this.#watch.trust(worker);
      if (fitsInto(nowMs - flight.sentAtMs, report)) {
        if (report.loadMs > 1) this.#loadPrices.observe(task.model, report.loadMs);
        this.#speeds.observe(worker, task.model, { executeMs, batchSize: report.batchSize }, nowMs);
      }
    } else {
      task.firstFailedAtMs ??= nowMs - worker.oneWayMs;
      if (worker.health.failed(nowMs - flight.sentAtMs, flight.sentAtMs)) this.#watch.eject(worker);
    }
    this.#fleet.refresh(worker, nowMs);
  }

  /** An attempt that was released because it had failed is the worker's fault after all. */
  blamed({ worker, sentAtMs }: Flight): void {
    const nowMs = this.#options.clock.monotonic();
    if (worker.health.failed(nowMs - sentAtMs, sentAtMs)) this.#watch.eject(worker);
    this.#fleet.refresh(worker, nowMs);
  }

  /** Its task has ended elsewhere; until the worker answers or lets go of it, it takes a slot. */
  superseded(flight: Flight): void {
    flight.isSuperseded = true;
    forget(flight);
  }

  /** The worker will not run it, or says nothing about it. */
  released(flight: Flight): void {
    if (flight.isOver) return;
    this.#end(flight, false);
    this.changed(flight.worker);
  }

  // ---- what to do

  /** @returns false when nobody can take anything: nothing has to be offered. */
  beginRound(waiting: number): boolean {
    const nowMs = this.#options.clock.monotonic();
    this.#left = waiting;
    this.#waiting = waiting;
    for (const worker of this.#booked) {
      worker.booked = 0;
      this.#fleet.refresh(worker, nowMs);
    }
    this.#booked.length = 0;
    this.#pressure = Math.min(1, waiting / Math.max(1, FULL_PRESSURE_SHARE * this.#fleet.slots));
    if (waiting === 0) return false;
    if (this.#fleet.isAnyOpen(this.#pressure, nowMs)) return true;
    // Spared workers are asked when there is nobody else for a task.
    return this.#watch.ejected.size > 0;
  }

  /** @returns who is to have the task; undefined: it stays in the queue. */
  choose(task: DispatchTask): FleetWorker | undefined {
    const nowMs = this.#options.clock.monotonic();
    this.#left -= 1;
    const round = {
      nowMs,
      pressure: this.#pressure,
      behind: Math.max(0, this.#left),
      arrivalsPerMs: this.#arrivals.perMs,
    };
    const strategy = this.#options.strategyFor(task.model);
    const market = this.#marketFor(task);
    let lot = this.#picker.pick(market, strategy, task, round);
    // A link that has filled up has not said so.
    while (lot?.isOpen === true && !lot.worker.facts.canSend) {
      this.#fleet.refresh(lot.worker, nowMs);
      lot = this.#picker.pick(market, strategy, task, round);
    }
    if (lot === undefined) return this.#lastResort(task);
    if (lot.isOpen) return lot.worker;
    this.#book(task, lot, nowMs);
    return undefined;
  }

  /** The task is on its way to the worker. */
  send(task: DispatchTask, worker: FleetWorker, purpose: FlightPurpose): Flight {
    const nowMs = this.#options.clock.monotonic();
    const { model } = task;
    const isLoading = !worker.residency.has(model);
    const expectedMs =
      this.#speeds.expectedMs(worker, model) + (isLoading ? this.#loadPrices.loadMs(model) : 0);
    const uploadMs = task.inputBytes <= SMALL_INPUT_BYTES ? 0 : worker.facts.path.uploadMs(task.inputBytes);
    const arrivesAtMs = nowMs + worker.oneWayMs + uploadMs;
    const flight = new Flight(task, worker, purpose, {
      sentAtMs: nowMs,
      arrivesAtMs,
      expectedMs,
      plannedStartMs: Math.max(arrivesAtMs, worker.freeAtMs),
    });
    if (isLoading) this.#loadPrices.began(worker, nowMs);
    worker.residency.use(model);
    addFlight(worker, flight);
    task.flights ??= [];
    task.flights.push(flight);
    this.#fleet.refresh(worker, nowMs);
    const strategy = this.#options.strategyFor(model);
    if (flight.isCopy) return flight;
    strategy.chosen?.(worker);
    this.#waiting = Math.max(0, this.#waiting - 1);
    this.#copies.sent(flight, strategy, this.#watch.ejected);
    return flight;
  }

  /** What was left waits for the next event, or for a worker that is about to get free. */
  endRound(): void {
    if (this.#waiting === 0) return;
    const nowMs = this.#options.clock.monotonic();
    const opensMs = this.#fleet.board.nextOpeningMs(this.#pressure, nowMs);
    this.#sleepUntil(Math.min(Math.max(opensMs, nowMs + MIN_SLEEP_MS), nowMs + MAX_SLEEP_MS), nowMs);
  }

  /** @param chosen who has just been given the task; undefined: it waits. */
  explain(task: DispatchTask, chosen: FleetWorker | undefined): Choice {
    const strategy = this.#options.strategyFor(task.model);
    return explainChoice(this.#pickParts, { task, strategy, pressure: this.#pressure, chosen });
  }

  // ---- inside

  #end(flight: Flight, isAnswer: boolean): void {
    flight.isOver = true;
    forget(flight);
    this.#copies.over(flight, isAnswer);
    removeFlight(flight.worker, flight, this.#speeds, this.#options.clock.monotonic());
  }

  #marketFor({ group }: DispatchTask): Market {
    let market = this.#markets.get(group);
    if (market === undefined) {
      market = new Market(this.#fleet, this.#speeds, this.#options.isAble);
      this.#markets.set(group, market);
    }
    return market;
  }

  #openMarketFor(task: DispatchTask): Market {
    const market = this.#marketFor(task);
    market.open(task, this.#options.strategyFor(task.model), this.#options.clock.monotonic());
    return market;
  }

  #lastResort(task: DispatchTask): FleetWorker | undefined {
    if (this.#watch.ejected.size === 0 && task.triedWorkerIds === undefined) return undefined;
    return lastResort(this.#options, this.#fleet, task);
  }

  #book(task: DispatchTask, lot: Lot, nowMs: number): void {
    const { worker } = lot;
    if (worker.booked === 0) this.#booked.push(worker);
    bookLane(worker, this.#speeds, { model: task.model, expectedMs: lot.serviceMs + lot.loadMs, nowMs });
    this.#fleet.settle(worker);
  }

  #look(): void {
    const isChanged = this.#watch.look((worker) => {
      for (const flight of [...worker.flights]) this.#copies.rescue(flight);
    });
    if (isChanged) this.#options.wake();
  }

  #sweep(): void {
    const nowMs = this.#options.clock.monotonic();
    this.#fleet.sweep();
    this.#arrivals.sweep(nowMs);
    for (const [group, { usedAtMs }] of this.#markets)
      if (nowMs - usedAtMs > SWEEP_EVERY_MS) this.#markets.delete(group);
  }

  #sleepUntil(atMs: number, nowMs: number): void {
    if (this.#sleep !== undefined && this.#sleep.atMs <= atMs + 0.25) return;
    this.#sleep?.timer.cancel();
    const timer = this.#options.clock.after(atMs - nowMs, () => {
      this.#sleep = undefined;
      this.#options.wake();
    });
    this.#sleep = { timer, atMs };
  }
}

/** It is no live attempt of its task any more. */
function forget(flight: Flight): void {
  const { flights } = flight.task;
  const index = flights?.indexOf(flight) ?? -1;
  if (index >= 0) flights?.splice(index, 1);
}
