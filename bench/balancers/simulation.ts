/**
 * One run of a story under one policy: the gateway without its decisions, its connections, and the clients' side of tasks.
 *
 * | a task's attempt     | and the task                                                                                       |
 * | -------------------- | -------------------------------------------------------------------------------------------------- |
 * | succeeds             | is done; what else of it is under way is cancelled                                                 |
 * | fails                | waits for its other attempts; without any it goes back to the queue, or has failed for good        |
 * | is lost with its link | the same, but that is not held against the task                                                   |
 */

import { type ArrivalPlan, planArrivals } from "./arrivals.ts";
import { type Answer, Attempt, type AttemptKind, SimTask } from "./attempt.ts";
import { Channel, oneWayMs } from "./network.ts";
import type { Policy } from "./policy.ts";
import { RandomStream } from "./random.ts";
import type { ScriptEvent, SiteSpec, Story } from "./scenario.ts";
import { VirtualClock } from "./virtual-clock.ts";
import { SimWorker } from "./worker.ts";

/** Later than that no client waits any more. */
export const DEADLINE_MS = 30_000;
const MAX_ATTEMPTS = 2;
const HEARTBEAT_TIMEOUT_MS = 15_000;
const PING_EVERY_MS = 1000;
const LEAST_RTT_MS = 0.1;

/** Streams of randomness. */
const ARRIVALS = 1;
const NETWORK = 2;
const POLICY = 3;
const WORKERS = 4;

export interface Tally {
  attempts: number;
  copies: number;
  retries: number;
  /** Time of runs that nobody waited for any more. */
  wastedMs: number;
}

interface Link {
  readonly toWorker: Channel;
  readonly toGateway: Channel;
  isPinging: boolean;
}

export class Simulation {
  readonly story: Story;
  readonly clock = new VirtualClock();
  /** For the policy. */
  readonly random: RandomStream;
  readonly workers: readonly SimWorker[];
  readonly tasks: readonly SimTask[];
  readonly tally: Tally = { attempts: 0, copies: 0, retries: 0, wastedMs: 0 };
  readonly maxAttempts: number;
  readonly #arrivals: ArrivalPlan;
  readonly #network: RandomStream;
  readonly #links: readonly Link[];
  readonly #policy: Policy;

  constructor(story: Story, seed: number, createPolicy: (simulation: Simulation) => Policy) {
    this.story = story;
    this.maxAttempts = story.maxAttempts ?? MAX_ATTEMPTS;
    this.random = new RandomStream(seed, POLICY);
    this.#network = new RandomStream(seed, NETWORK);
    this.#arrivals = planArrivals(story, new RandomStream(seed, ARRIVALS));
    this.tasks = this.#arrivals.tasks.map((plan, index) => new SimTask(index, plan));
    this.workers = this.#makeWorkers(seed);
    this.#links = this.workers.map((worker) => this.#makeLink(worker));
    this.#policy = createPolicy(this);
    this.#schedule();
  }

  get nowMs(): number {
    return this.clock.monotonic();
  }

  /** True mean arrival rate. */
  get ratePerMs(): number {
    return this.#arrivals.ratePerMs(this.nowMs);
  }

  siteOf(worker: SimWorker): SiteSpec {
    const site = this.story.sites[worker.spec.site];
    if (site === undefined) throw new RangeError(`There is no site ${worker.spec.site}.`);
    return site;
  }

  run(): this {
    const { durationMs, isCutOff } = this.story;
    this.clock.run(isCutOff ? durationMs : durationMs + DEADLINE_MS + 1000);
    this.#policy.close();
    return this;
  }

  send(task: SimTask, worker: SimWorker, kind: AttemptKind): Attempt {
    const attempt = new Attempt(task, worker, kind, this.nowMs);
    worker.held.push(attempt);
    task.attempts.push(attempt);
    this.tally.attempts += 1;
    if (kind === "copy") this.tally.copies += 1;
    this.#transmit(worker, () => worker.accept(attempt));
    return attempt;
  }

  /** The gateway gives the worker's connection up. */
  disconnect(worker: SimWorker): void {
    if (!worker.isConnected) return;
    worker.isConnected = false;
    const lost = worker.held.splice(0);
    this.#policy.left(worker);
    for (const attempt of lost) {
      attempt.isLost = true;
      const { task } = attempt;
      remove(task.attempts, attempt);
      if (task.state === "waiting" && task.attempts.length === 0) this.#tryAgain(task);
    }
    this.#policy.decide();
  }

  #makeWorkers(seed: number): SimWorker[] {
    const { clock, story } = this;
    const random = new RandomStream(seed, WORKERS);
    const answer = (attempt: Attempt, given: Answer): void =>
      this.#reply(attempt.worker, () => this.#settle(attempt, given));
    const options = { clock, models: story.models, random, seed, endMs: story.durationMs, answer };
    return story.workers.map((spec, id) => new SimWorker(id, spec, options));
  }

  #makeLink(worker: SimWorker): Link {
    const channel = (): Channel => new Channel(this.siteOf(worker), this.#network);
    return { toWorker: channel(), toGateway: channel(), isPinging: false };
  }

  #schedule(): void {
    for (const worker of this.workers) {
      const { joinAt = 0 } = worker.spec;
      if (joinAt <= 0) this.#connect(worker);
      else this.clock.at(joinAt, () => this.#connect(worker));
    }
    for (const event of this.story.script ?? []) this.clock.at(event.at, () => this.#happen(event));
    for (const task of this.tasks) this.clock.at(task.plan.arrivedAtMs, () => this.#queue(task, false));
  }

  // --- The network

  #linkOf(worker: SimWorker): Link {
    return this.#links[worker.id] as Link;
  }

  #transmit(worker: SimWorker, deliver: () => void): void {
    this.clock.at(this.#linkOf(worker).toWorker.deliveryMs(this.nowMs), deliver);
  }

  #reply(worker: SimWorker, deliver: () => void): void {
    this.clock.at(this.#linkOf(worker).toGateway.deliveryMs(this.nowMs), deliver);
  }

  #connect(worker: SimWorker): void {
    this.disconnect(worker);
    worker.isConnected = true;
    const site = this.siteOf(worker);
    const there = oneWayMs(site, this.nowMs, this.#network);
    this.#policy.roundTrip(worker, there + oneWayMs(site, this.nowMs, this.#network));
    this.#policy.joined(worker);
    const link = this.#linkOf(worker);
    if (!link.isPinging) {
      link.isPinging = true;
      const { pingEvery = PING_EVERY_MS } = this.story;
      this.clock.after(pingEvery * (0.1 + 0.9 * this.#network.next()), () => this.#ping(worker));
    }
    this.#policy.decide();
  }

  #ping(worker: SimWorker): void {
    const { pingEvery = PING_EVERY_MS, durationMs } = this.story;
    const sentAtMs = this.nowMs;
    if (sentAtMs < durationMs) this.clock.after(pingEvery, () => this.#ping(worker));
    if (!worker.isConnected) return;
    this.#policy.pinged(worker);
    this.#transmit(worker, () => {
      if (!worker.isMute) this.#reply(worker, () => this.#pong(worker, sentAtMs));
    });
  }

  #pong(worker: SimWorker, pingedAtMs: number): void {
    if (!worker.isConnected) return;
    this.#policy.roundTrip(worker, this.nowMs - pingedAtMs);
    this.#policy.heard(worker);
  }

  // --- Tasks

  #queue(task: SimTask, isRetry: boolean): void {
    this.#policy.queued(task, isRetry);
    this.#policy.decide();
  }

  #tryAgain(task: SimTask): void {
    this.tally.retries += 1;
    if (this.nowMs - task.plan.arrivedAtMs > DEADLINE_MS) task.end("failed", this.nowMs);
    else this.#queue(task, true);
  }

  #settle(attempt: Attempt, answer: Answer): void {
    const { worker, task, sentAtMs } = attempt;
    if (!this.#takeBack(attempt)) return;
    const { isOk, queuedMs, executeMs, loadMs } = answer;
    this.#policy.heard(worker);
    if (isOk) {
      const rttMs = this.nowMs - sentAtMs - queuedMs - executeMs - loadMs;
      this.#policy.roundTrip(worker, Math.max(LEAST_RTT_MS, rttMs));
    }
    this.#policy.answered(attempt, answer);
    if (task.state !== "waiting") {
      if (isOk) this.tally.wastedMs += executeMs + loadMs;
    } else if (isOk) this.#succeed(task);
    else this.#fail(task, worker);
    this.#policy.decide();
  }

  /** @returns whether the gateway still listens to it. */
  #takeBack(attempt: Attempt): boolean {
    const { worker, task } = attempt;
    if (attempt.isLost || !worker.isConnected) return false;
    remove(worker.held, attempt);
    remove(task.attempts, attempt);
    return true;
  }

  #succeed(task: SimTask): void {
    task.end("done", this.nowMs);
    for (const other of task.attempts) {
      this.#policy.superseded(other);
      this.#transmit(other.worker, () => this.#withdraw(other));
    }
  }

  #withdraw(attempt: Attempt): void {
    const { worker } = attempt;
    if (!worker.withdraw(attempt)) return;
    this.#reply(worker, () => {
      if (!this.#takeBack(attempt)) return;
      this.#policy.heard(worker);
      this.#policy.withdrawn(attempt);
      this.#policy.decide();
    });
  }

  #fail(task: SimTask, worker: SimWorker): void {
    task.failures += 1;
    if (task.attempts.length > 0 || task.failures < this.maxAttempts) task.failedOn.add(worker.id);
    if (task.attempts.length > 0) return;
    if (task.failures < this.maxAttempts) this.#tryAgain(task);
    else task.end("failed", this.nowMs);
  }

  // --- What befalls workers

  #happen(event: ScriptEvent): void {
    for (const id of event.workers) {
      const worker = this.workers[id];
      if (worker === undefined) throw new RangeError(`There is no worker ${id}.`);
      this.#befall(worker, event);
    }
    this.#policy.scripted(event);
  }

  #befall(worker: SimWorker, event: ScriptEvent): void {
    if (event.do === "rejoin") this.#reopen(worker);
    worker.suffer(event);
    if (event.do === "rejoin") this.#connect(worker);
    else if (event.do === "die") this.#reply(worker, () => this.disconnect(worker));
    else if (event.do === "hole") {
      this.clock.after(this.story.hbTimeout ?? HEARTBEAT_TIMEOUT_MS, () => {
        if (worker.condition === "silent") this.disconnect(worker);
      });
    }
  }

  #reopen(worker: SimWorker): void {
    const { toWorker, toGateway } = this.#linkOf(worker);
    toWorker.reopen(this.nowMs);
    toGateway.reopen(this.nowMs);
  }
}

function remove<Item>(items: Item[], item: Item): void {
  const index = items.indexOf(item);
  if (index >= 0) items.splice(index, 1);
}
