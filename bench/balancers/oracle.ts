/**
 * The yardstick: a policy that knows the truth about every worker now (queues, elapsed times, memory, health), the paths' round-trip times, mean service
 * times and the arrival rate. It knows neither the size of a task nor the future, so it is no bound: now and then a strategy is luckier.
 *
 * For each waiting task it takes the cheapest worker that can begin at once, unless waiting for a better one is cheaper even for those behind, who wait
 * along: a wait costs 1/(1 − ρ) of itself, ρ being the load of the workers that are better than the cheapest open one. It never sends a copy because
 * an answer is late; it does send one to load a model before anybody has to wait for it.
 */

import type { Answer, Attempt, SimTask } from "./attempt.ts";
import { ModelPrices } from "./oracle-models.ts";
import { Outlook } from "./oracle-outlook.ts";
import { type Choice, choose, type Offer } from "./oracle-price.ts";
import type { Policy } from "./policy.ts";
import type { ScriptEvent } from "./scenario.ts";
import type { Simulation } from "./simulation.ts";
import type { SimWorker } from "./worker.ts";

const MAX_HELD = 24;
/** Those behind count by their number. */
const MAX_HELD_PER_MODEL = 2;
const PRESSURE_SHARE = 0.25;
const LEAST_WAKE_MS = 2;
const MOST_WAKE_MS = 250;
const RETRY_COST_MS = 600;
const FAILURE_COST_MS = 30_000;
const WARM_UP_LOAD = 0.5;

export class Oracle implements Policy {
  readonly #simulation: Simulation;
  readonly #prices: ModelPrices;
  /** Urgent ones, and the rest. */
  readonly #queues: readonly [SimTask[], SimTask[]] = [[], []];
  readonly #outlooks = new Map<SimWorker, Outlook>();
  #live: Outlook[] = [];
  #pressure = 0;
  #wakesAtMs = Number.POSITIVE_INFINITY;

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
    this.#prices = new ModelPrices(Math.max(...simulation.story.models.map(({ loadMs = 0 }) => loadMs)));
  }

  joined(worker: SimWorker): void {
    let outlook = this.#outlooks.get(worker);
    if (outlook === undefined) {
      outlook = new Outlook(worker, this.#simulation);
      this.#outlooks.set(worker, outlook);
    }
    outlook.invalidate();
    this.#live.push(outlook);
  }

  left(worker: SimWorker): void {
    this.#live = this.#live.filter((outlook) => outlook.worker !== worker);
  }

  pinged(): void {}

  heard(): void {}

  roundTrip(): void {}

  superseded(): void {}

  close(): void {}

  queued(task: SimTask, isRetry: boolean): void {
    const { model, isUrgent } = task.plan;
    if (!isRetry) this.#prices.arrived(model, this.#simulation.nowMs);
    this.#prices.queued(model);
    const queue = this.#queues[isUrgent ? 0 : 1];
    if (isRetry) queue.unshift(task);
    else queue.push(task);
  }

  answered({ worker }: Attempt, _answer: Answer): void {
    this.#outlooks.get(worker)?.invalidate();
  }

  withdrawn({ worker }: Attempt): void {
    this.#outlooks.get(worker)?.invalidate();
  }

  scripted(event: ScriptEvent): void {
    if (event.do === "hole") {
      for (const id of event.workers) {
        const worker = this.#simulation.workers[id];
        if (worker !== undefined) this.#simulation.disconnect(worker);
      }
    }
    this.decide();
  }

  get #waiting(): number {
    return this.#queues[0].length + this.#queues[1].length;
  }

  decide(): void {
    if (this.#live.length === 0 || this.#waiting === 0) return;
    const slots = this.#live.reduce((sum, { worker }) => sum + worker.slots * worker.batchMax, 0);
    this.#pressure = Math.min(1, this.#waiting / Math.max(1, PRESSURE_SHARE * slots));
    for (const outlook of this.#live) {
      outlook.booked = 0;
      outlook.refresh(this.#pressure);
    }
    this.#round();
    if (this.#waiting > 0) this.#wakeInTime();
  }

  #round(): void {
    const heldOf = new Map<number, number>();
    let held = 0;
    let behind = this.#waiting;
    let open = this.#live.filter(({ isOpen }) => isOpen).length;
    for (const queue of this.#queues) {
      let index = 0;
      for (let task = queue[index]; task !== undefined && open > 0 && held < MAX_HELD; task = queue[index]) {
        behind -= 1;
        const { model } = task.plan;
        const heldBefore = heldOf.get(model) ?? 0;
        const choice = heldBefore < MAX_HELD_PER_MODEL ? this.#choose(task, behind) : undefined;
        if (choice?.isNow === true) queue.splice(index, 1);
        else {
          index += 1;
          held += 1;
        }
        if (choice === undefined) continue;
        const wasOpen = choice.outlook.isOpen;
        if (!choice.isNow) heldOf.set(model, heldBefore + 1);
        this.#commit(task, choice);
        open += Number(choice.outlook.isOpen) - Number(wasOpen);
      }
    }
  }

  #choose(task: SimTask, behind: number): Choice | undefined {
    const offers = this.#live
      .map((outlook) => this.#offer(outlook, task))
      .filter((offer) => offer !== undefined);
    return choose(offers, { behind, ratePerMs: this.#simulation.ratePerMs, random: this.#simulation.random });
  }

  #offer(outlook: Outlook, task: SimTask): Offer | undefined {
    const { worker, oneWayMs, freeAtMs } = outlook;
    const isSpared = task.failedOn.has(worker.id) && this.#live.length > task.failedOn.size;
    if (worker.condition !== "well" || isSpared) return undefined;
    const { model } = task.plan;
    const { nowMs } = this.#simulation;
    const loadMs = this.#prices.priceMs(outlook, model, this.#live, nowMs);
    if (loadMs === Number.POSITIVE_INFINITY) return undefined;
    const meanMs = worker.meanMs(model);
    const busy = Math.min(worker.held.length + outlook.booked, worker.slots - 1);
    const contendedMs = meanMs * (1 + (worker.spec.cont ?? 0) * busy);
    return {
      outlook,
      serviceMs: contendedMs + (loadMs > 0 ? this.#prices.loadMs : 0),
      waitMs: Math.max(0, freeAtMs - nowMs - oneWayMs),
      baseMs: 2 * oneWayMs + loadMs + contendedMs + failureMs(outlook, task, meanMs + loadMs),
    };
  }

  /** Sends the task, or books its place for those behind. */
  #commit(task: SimTask, { outlook, serviceMs, isNow }: Choice): void {
    const { nowMs } = this.#simulation;
    const { model } = task.plan;
    const beginMs = Math.max(nowMs + outlook.oneWayMs, outlook.freeAtMs);
    if (isNow) {
      this.#prices.dequeued(model);
      this.#prices.sent(outlook, model, nowMs);
      outlook.invalidate();
      this.#simulation.send(task, outlook.worker, task.failures > 0 ? "retry" : "first");
      this.#warmUp(task);
    } else outlook.booked += 1;
    outlook.book(beginMs, serviceMs);
    outlook.touch(model);
    outlook.openFor(this.#pressure);
  }

  /** While the holders of a model are busy, an idle worker with room loads it by a copy. */
  #warmUp(task: SimTask): void {
    const { model } = task.plan;
    let slots = 0;
    let busy = 0;
    let idle: Outlook | undefined;
    for (const outlook of this.#live) {
      const { worker } = outlook;
      if (outlook.has(model)) {
        slots += worker.slots;
        busy += Math.min(worker.slots, worker.held.length);
      } else if (worker.held.length === 0 && !outlook.isFull && worker.condition === "well") idle ??= outlook;
    }
    if (idle === undefined || busy <= WARM_UP_LOAD * slots) return;
    this.#simulation.send(task, idle.worker, "copy");
    idle.lastLoadAtMs = this.#simulation.nowMs;
    idle.touch(model);
    idle.invalidate();
  }

  /** At the time at which the next worker opens. */
  #wakeInTime(): void {
    const { nowMs, clock } = this.#simulation;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const { opensAtMs, hasCredit } of this.#live)
      if (hasCredit && opensAtMs > nowMs) nextMs = Math.min(nextMs, opensAtMs);
    const atMs = Math.min(Math.max(nextMs, nowMs + LEAST_WAKE_MS), nowMs + MOST_WAKE_MS);
    if (atMs >= this.#wakesAtMs - 0.25 && this.#wakesAtMs > nowMs) return;
    this.#wakesAtMs = atMs;
    clock.at(atMs, () => {
      if (this.#wakesAtMs === atMs) this.#wakesAtMs = Number.POSITIVE_INFINITY;
      this.decide();
    });
  }
}

function failureMs({ worker, oneWayMs }: Outlook, task: SimTask, serviceMs: number): number {
  if (worker.errorShare === 0) return 0;
  const thenMs = task.failures > 0 ? FAILURE_COST_MS : RETRY_COST_MS;
  return worker.errorShare * (2 * oneWayMs + 2 * serviceMs + thenMs);
}
