/**
 * The rule by which a task gets its worker.
 *
 * A worker is *open* when it would begin the task about when the task arrives there. Of the open ones the cheapest is the candidate. By a strategy
 * whose prices are times, a busy worker can still be the better choice: fast, near, soon free. But waiting for it is not paid by this task
 * alone; everybody behind waits too, until the better workers have worked off what comes in. A wait of t costs t / (1 − ρ), where ρ is the rate
 * of arrivals over the rate of all workers better than the candidate. And as tasks are exchangeable, those behind in the queue will take the
 * candidate's place if this one does not: the more of them there are, the less waiting is worth.
 */

import type { Strategy } from "../balancers/strategy.ts";
import { isWelcome } from "./eligibility.ts";
import type { Fleet } from "./fleet.ts";
import type { FleetWorker } from "./fleet-worker.ts";
import type { LoadPrices } from "./load-prices.ts";
import type { Lot, Market } from "./market.ts";
import { type DispatcherOptions, type DispatchTask, SMALL_INPUT_BYTES } from "./ports.ts";
import type { Speeds } from "./speeds.ts";

const MAX_UTILISATION = 0.95;
/** Prices nearer than this are equal. */
const EQUAL_MS = 1e-6;
/** How far a price may have moved since the lots were put in order. */
const ORDER_SLACK = 1.05;
const ORDER_SLACK_MS = 1;
/** Tasks that wait for the holders of a model come one after the other, and unevenly. */
const QUEUE_FACTOR = 1.5;

export interface PickParts {
  readonly options: DispatcherOptions;
  readonly fleet: Fleet;
  readonly speeds: Speeds;
  readonly loadPrices: LoadPrices;
}

/** How things stand when a choice is made. */
export interface Round {
  readonly nowMs: number;
  /** 0 … 1: how much waits, against what there is. */
  readonly pressure: number;
  /** Tasks behind the one in question. */
  readonly behind: number;
  readonly arrivalsPerMs: number;
}

export class Picker {
  readonly #parts: PickParts;
  /** Of the present choice, those that were looked at: which of the holders, or after them of the others. */
  #seen = new Int32Array(64);
  #rows = new Int32Array(64);
  #prices = new Float64Array(64);
  /** No number (NaN): open. */
  #waitsMs = new Float64Array(64);
  #count = 0;
  /** The cheapest of the open ones. */
  #best = -1;
  #bestCost = 0;
  #equals = 0;

  constructor(parts: PickParts) {
    this.#parts = parts;
  }

  /** @returns the lot whose worker is to have the task: at once when it is open; otherwise the task waits for it. */
  pick(market: Market, strategy: Strategy, task: DispatchTask, round: Round): Lot | undefined {
    this.#count = 0;
    this.#best = -1;
    this.#bestCost = Number.POSITIVE_INFINITY;
    this.#equals = 0;
    market.open(task, strategy, round.nowMs);
    const holdersMs = this.#askHolders(market, strategy, task, round);
    if (market.others.length > 0) this.#askOthers(market, strategy, task, round, holdersMs);
    const chosen = strategy.isTimed ? this.#weighWaiting(round) : this.#best;
    if (chosen < 0) return undefined;
    const index = this.#seen[chosen] as number;
    const lot = market.holders[index] ?? market.others[index - market.holders.length];
    lot?.time(round.nowMs, round.pressure);
    return lot;
  }

  /** @returns how long the task would wait for those that have the model. */
  #askHolders(market: Market, strategy: Strategy, task: DispatchTask, round: Round): number {
    const { fleet, options } = this.#parts;
    const { board } = fleet;
    const { isTimed } = strategy;
    const { nowMs, pressure } = round;
    const { holders, rows, prices, serials } = market;
    const isPlain = this.#isPlain(task);
    this.#makeRoom(holders.length + market.others.length);
    // Hundreds of lots are run through for every task: what is needed of them is at hand in locals and columns.
    const { sendAtMs, opensAtMs, uncertaintyMs, staleAtMs, serial } = board;
    const margin = isTimed ? EQUAL_MS : 0;
    const seen = this.#seen;
    const seenRows = this.#rows;
    const seenPrices = this.#prices;
    const seenWaits = this.#waitsMs;
    let count = 0;
    let dearestMs = Number.POSITIVE_INFINITY;
    let leastWaitMs = Number.POSITIVE_INFINITY;
    for (let i = 0; i < holders.length; i += 1) {
      let price = prices[i] as number;
      // Whoever follows costs more, even with nothing to wait for.
      if (price > dearestMs) break;
      const row = rows[i] as number;
      if ((staleAtMs[row] as number) <= nowMs) fleet.freshen((holders[i] as Lot).cohort, nowMs);
      let waitMs: number;
      let isOpen: boolean;
      if (isPlain && serial[row] === serials[i]) {
        waitMs = (sendAtMs[row] as number) - nowMs;
        if (waitMs < 0) waitMs = 0;
        isOpen = (opensAtMs[row] as number) - pressure * (uncertaintyMs[row] as number) <= nowMs;
        if (!isTimed) price = strategy.price(holders[i] as Lot);
      } else {
        const lot = holders[i] as Lot;
        if (!this.#look(lot, task, round)) continue;
        lot.fix(strategy, task, 0);
        price = lot.price;
        waitMs = lot.waitMs;
        isOpen = lot.isOpen;
        // What was measured for a task that is not plain does not hold for the next one.
        serials[i] = isPlain ? (serial[row] as number) : Number.NaN;
        if (isPlain) prices[i] = price;
      }
      if (waitMs < leastWaitMs) leastWaitMs = waitMs;
      seen[count] = i;
      seenRows[count] = row;
      seenPrices[count] = price;
      seenWaits[count] = isOpen ? Number.NaN : waitMs;
      count += 1;
      if (!isOpen) continue;
      this.#count = count;
      this.#offer(isTimed ? price + waitMs : price, margin);
      if (isTimed) dearestMs = ORDER_SLACK * this.#bestCost + ORDER_SLACK_MS;
    }
    this.#count = count;
    if (leastWaitMs === Number.POSITIVE_INFINITY || market.others.length === 0) return leastWaitMs;
    const waiting = options.waitingIn(task.group);
    return leastWaitMs + (QUEUE_FACTOR * waiting * market.longestServiceMs) / Math.max(1, market.holderSlots);
  }

  #askOthers(market: Market, strategy: Strategy, task: DispatchTask, round: Round, holdersMs: number): void {
    const { loadPrices, fleet } = this.#parts;
    const { isTimed } = strategy;
    if (isTimed && !loadPrices.isWorthAsking(task.model, holdersMs)) return;
    for (const [index, lot] of market.others.entries()) {
      fleet.freshen(lot.cohort, round.nowMs);
      if (!this.#look(lot, task, round)) continue;
      // Whoever takes turns may load a model into free memory, but nobody may drive out what others want.
      const isPriced = isTimed || lot.worker.residency.isFull;
      const loadMs = isPriced
        ? loadPrices.priceMs(lot.worker, task.model, holdersMs, round.nowMs)
        : loadPrices.loadMs(task.model);
      if (loadMs === Number.POSITIVE_INFINITY) continue;
      lot.fix(strategy, task, loadMs);
      const { price, isOpen, waitMs } = lot;
      this.#see(market.holders.length + index, lot.cohort.row, price, isOpen ? Number.NaN : waitMs);
      if (isOpen) this.#offer(isTimed ? price + waitMs : price, isTimed ? EQUAL_MS : 0);
    }
  }

  /** Whether only times matter for it. */
  #isPlain({ inputBytes, triedWorkerIds, firstFailedAtMs, model }: DispatchTask): boolean {
    if (inputBytes > SMALL_INPUT_BYTES || triedWorkerIds !== undefined || firstFailedAtMs !== undefined)
      return false;
    return this.#parts.options.replicasOf?.(model) === undefined;
  }

  /** @returns false when nobody of the lot may have the task. */
  #look(lot: Lot, task: DispatchTask, { nowMs, pressure }: Round): boolean {
    const { head } = lot.cohort;
    if (head === undefined) return false;
    const worker = isWelcome(this.#parts.options, head, task, nowMs)
      ? head
      : this.#nextWelcome(lot, task, nowMs);
    if (worker === undefined) return false;
    lot.measure(worker, task, this.#parts.speeds);
    lot.time(nowMs, pressure);
    return true;
  }

  #nextWelcome({ cohort }: Lot, task: DispatchTask, nowMs: number): FleetWorker | undefined {
    let best: FleetWorker | undefined;
    for (const worker of cohort.workers()) {
      if (best !== undefined && best.freeAtMs <= worker.freeAtMs) continue;
      if (isWelcome(this.#parts.options, worker, task, nowMs)) best = worker;
    }
    return best;
  }

  #see(index: number, row: number, price: number, waitMs: number): void {
    const i = this.#count;
    this.#seen[i] = index;
    this.#rows[i] = row;
    this.#prices[i] = price;
    this.#waitsMs[i] = waitMs;
    this.#count = i + 1;
  }

  /** The one that was seen last is open. Of equals each is as likely. */
  #offer(cost: number, margin: number): void {
    if (cost > this.#bestCost + margin) return;
    if (cost < this.#bestCost - margin) this.#equals = 1;
    else {
      this.#equals += 1;
      if (this.#parts.options.random() * this.#equals >= 1) return;
    }
    this.#best = this.#count - 1;
    this.#bestCost = Math.min(cost, this.#bestCost);
  }

  #weighWaiting({ behind, arrivalsPerMs }: Round): number {
    const best = this.#best;
    const betterPerMs = best < 0 ? 0 : this.#ratePerMsBelow((this.#prices[best] as number) - EQUAL_MS);
    const utilisation = Math.min(MAX_UTILISATION, arrivalsPerMs / Math.max(1e-9, betterPerMs));
    const waitPrice = best < 0 ? 1 : 1 / (1 - utilisation);
    let busy = -1;
    let busyCost = Number.POSITIVE_INFINITY;
    const prices = this.#prices;
    const waitsMs = this.#waitsMs;
    const count = this.#count;
    for (let i = 0; i < count; i += 1) {
      // Not for those that are open: theirs is no number.
      const cost = (prices[i] as number) + waitPrice * (waitsMs[i] as number);
      if (!(cost < busyCost)) continue;
      busy = i;
      busyCost = cost;
    }
    if (best < 0 || busy < 0) return best < 0 ? busy : best;
    const behindMs = betterPerMs > 0 ? (waitPrice * behind) / betterPerMs : 0;
    return this.#bestCost > busyCost + behindMs ? busy : best;
  }

  #ratePerMsBelow(price: number): number {
    const { ratePerMs } = this.#parts.fleet.board;
    const prices = this.#prices;
    const rows = this.#rows;
    const count = this.#count;
    let perMs = 0;
    for (let i = 0; i < count; i += 1)
      if ((prices[i] as number) < price) perMs += ratePerMs[rows[i] as number] as number;
    return perMs;
  }

  #makeRoom(count: number): void {
    if (count <= this.#prices.length) return;
    this.#seen = new Int32Array(2 * count);
    this.#rows = new Int32Array(2 * count);
    this.#prices = new Float64Array(2 * count);
    this.#waitsMs = new Float64Array(2 * count);
  }
}
