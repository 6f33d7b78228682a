/** The gateway's own queue and dispatcher as a policy. They are told what a gateway is told of its workers, and nothing else. */

import type { Dispatcher } from "../../gateway/dispatch/dispatcher.ts";
import type { FleetWorker } from "../../gateway/dispatch/fleet-worker.ts";
import type { Flight, FlightPurpose } from "../../gateway/dispatch/flight.ts";
import type {
  CopyPurpose,
  DispatcherOptions,
  DispatchTask,
  Path,
  WorkerFacts,
} from "../../gateway/dispatch/ports.ts";
import { QueueItem, TaskQueue } from "../../gateway/queue/task-queue.ts";
import { type RttOffset, SiteRtt } from "../../gateway/registry/site-rtt.ts";
import type { Answer, Attempt, AttemptKind, SimTask } from "./attempt.ts";
import type { Policy } from "./policy.ts";
import type { Simulation } from "./simulation.ts";
import type { SimWorker } from "./worker.ts";

const URGENT = 0;
const NORMAL = 1;

/** With the strategy that is to decide. */
export type CreateDispatcher = (options: Omit<DispatcherOptions, "strategyFor">) => Dispatcher;

export class SimulatedGateway implements Policy {
  readonly #simulation: Simulation;
  readonly #dispatcher: Dispatcher;
  readonly #queue = new TaskQueue<QueuedTask>(2);
  readonly #tasks = new Map<SimTask, QueuedTask>();
  readonly #flights = new Map<Attempt, Flight>();
  /** Those that are connected. */
  readonly #workers = new Map<SimWorker, FleetWorker>();
  readonly #behind = new Map<FleetWorker, SimWorker>();
  readonly #sites = new Map<number, SiteRtt>();
  readonly #offsets = new Map<SimWorker, RttOffset>();
  #isInRound = false;

  constructor(simulation: Simulation, create: CreateDispatcher) {
    this.#simulation = simulation;
    this.#dispatcher = create({
      clock: simulation.clock,
      random: () => simulation.random.next(),
      isAble: () => true,
      waitingIn: (group: string) => this.#queue.countOf(group),
      copy: (task: DispatchTask, worker: FleetWorker, purpose: CopyPurpose) => {
        this.#transmit(task as QueuedTask, worker, purpose);
        return true;
      },
      wake: () => this.decide(),
    });
  }

  joined(worker: SimWorker): void {
    const joined = this.#dispatcher.join(this.#factsOf(worker));
    this.#workers.set(worker, joined);
    this.#behind.set(joined, worker);
    const models = worker.memory?.models();
    if (models !== undefined) this.#dispatcher.residents(joined, models.map(nameOf));
  }

  left(worker: SimWorker): void {
    const fleetWorker = this.#fleetWorker(worker);
    this.#dispatcher.leave(fleetWorker);
    this.#workers.delete(worker);
    this.#behind.delete(fleetWorker);
    this.#offsets.delete(worker);
  }

  pinged(worker: SimWorker): void {
    this.#dispatcher.pinged(this.#fleetWorker(worker));
  }

  heard(worker: SimWorker): void {
    this.#dispatcher.heard(this.#fleetWorker(worker));
  }

  roundTrip(worker: SimWorker, rttMs: number): void {
    this.#siteOf(worker).sample(this.#offsetOf(worker), rttMs);
  }

  queued(task: SimTask, isRetry: boolean): void {
    const queued = this.#queuedTask(task);
    if (isRetry) this.#queue.pushFront(queued);
    else {
      this.#queue.pushBack(queued);
      this.#dispatcher.arrived(queued);
    }
  }

  answered(attempt: Attempt, answer: Answer): void {
    const flight = this.#takeFlight(attempt);
    this.#dispatcher.answered(flight, answer);
    if (answer.residents !== undefined)
      this.#dispatcher.residents(flight.worker, answer.residents.map(nameOf));
  }

  withdrawn(attempt: Attempt): void {
    this.#dispatcher.released(this.#takeFlight(attempt));
  }

  superseded(attempt: Attempt): void {
    const flight = this.#flights.get(attempt);
    if (flight !== undefined) this.#dispatcher.superseded(flight);
  }

  /** It finds out by itself. */
  scripted(): void {}

  decide(): void {
    if (this.#isInRound || this.#queue.size === 0) return;
    this.#isInRound = true;
    if (this.#dispatcher.beginRound(this.#queue.size)) {
      this.#queue.place(
        (task) => this.#dispatcher.choose(task),
        (task, worker) => this.#transmit(task, worker, task.isRetry ? "retry" : "first"),
      );
    }
    this.#dispatcher.endRound();
    this.#isInRound = false;
  }

  close(): void {
    this.#dispatcher.close();
  }

  #transmit(task: QueuedTask, to: FleetWorker, purpose: FlightPurpose): void {
    const worker = this.#behind.get(to);
    if (worker === undefined) throw new Error(`${to.id} is not connected.`);
    // Sent first: the dispatcher may ask for a copy of it right away.
    const attempt = this.#simulation.send(task.simulated, worker, kindOf(purpose));
    task.isRetry = true;
    this.#flights.set(attempt, this.#dispatcher.send(task, to, purpose));
  }

  #takeFlight(attempt: Attempt): Flight {
    const flight = this.#flights.get(attempt);
    if (flight === undefined) throw new Error("Nobody has sent that.");
    this.#flights.delete(attempt);
    return flight;
  }

  #fleetWorker(worker: SimWorker): FleetWorker {
    const found = this.#workers.get(worker);
    if (found === undefined) throw new Error(`Worker ${worker.id} is not connected.`);
    return found;
  }

  #queuedTask(task: SimTask): QueuedTask {
    let queued = this.#tasks.get(task);
    if (queued === undefined) {
      queued = new QueuedTask(task, this.#simulation.maxAttempts);
      this.#tasks.set(task, queued);
    }
    return queued;
  }

  #factsOf(worker: SimWorker): WorkerFacts {
    const { id, spec, slots, batchMax, memory } = worker;
    return {
      id: workerName(id),
      site: `site-${spec.site}`,
      slots,
      hardwareClass: `class-${spec.cls ?? 0}`,
      capability: "any",
      path: this.#pathTo(worker),
      canSend: true,
      modelCapacity: memory?.capacity,
      maxBatch: () => batchMax,
    };
  }

  #pathTo(worker: SimWorker): Path {
    const site = this.#siteOf(worker);
    const offset = this.#offsetOf(worker);
    return {
      get rttMs() {
        return site.rttTo(offset);
      },
      get deviationMs() {
        return site.deviationMs;
      },
      uploadMs: () => 0,
    };
  }

  #siteOf({ spec }: SimWorker): SiteRtt {
    let site = this.#sites.get(spec.site);
    if (site === undefined) {
      site = new SiteRtt();
      this.#sites.set(spec.site, site);
    }
    return site;
  }

  #offsetOf(worker: SimWorker): RttOffset {
    let offset = this.#offsets.get(worker);
    if (offset === undefined) {
      offset = { offsetMs: 0 };
      this.#offsets.set(worker, offset);
    }
    return offset;
  }
}

/** What the gateway knows of a task. */
class QueuedTask extends QueueItem implements DispatchTask {
  readonly simulated: SimTask;
  readonly model: string;
  readonly inputBytes = 0;
  readonly mayBeCopied = true;
  firstFailedAtMs: number | undefined = undefined;
  flights: Flight[] | undefined = undefined;
  /** It has been sent before. */
  isRetry = false;
  readonly #maxAttempts: number;

  constructor(task: SimTask, maxAttempts: number) {
    const { model, isUrgent } = task.plan;
    super(isUrgent ? URGENT : NORMAL, "client", nameOf(model));
    this.simulated = task;
    this.model = nameOf(model);
    this.#maxAttempts = maxAttempts;
  }

  get triedWorkerIds(): ReadonlySet<string> | undefined {
    const { failedOn } = this.simulated;
    return failedOn.size === 0 ? undefined : new Set([...failedOn].map(workerName));
  }

  get isLastAttempt(): boolean {
    return this.simulated.failures + 1 >= this.#maxAttempts;
  }
}

const nameOf = (model: number): string => `model-${model}`;
const workerName = (id: number): string => `worker-${id}`;

function kindOf(purpose: FlightPurpose): AttemptKind {
  return purpose === "first" || purpose === "retry" ? purpose : "copy";
}
