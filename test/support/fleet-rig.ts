/**
 * A dispatcher with a queue, and workers that answer when the test says so or after a time that the test has told them, on a virtual clock.
 *
 * The rig does what the gateway would: it sends what was chosen, and copies; the first good answer ends a task, a failed one goes back to the front of
 * the queue unless somebody still has it.
 */

import type { StrategyName } from "@legacygpu/shared/task";
import { createStrategies } from "../../gateway/balancers/strategies.ts";
import type { Strategy } from "../../gateway/balancers/strategy.ts";
import type { Choice } from "../../gateway/dispatch/choice.ts";
import type { Mechanisms } from "../../gateway/dispatch/copies.ts";
import { Dispatcher } from "../../gateway/dispatch/dispatcher.ts";
import type { FleetWorker } from "../../gateway/dispatch/fleet-worker.ts";
import type { Flight, FlightPurpose } from "../../gateway/dispatch/flight.ts";
import type { Report, WorkerFacts } from "../../gateway/dispatch/ports.ts";
import { ManualClock } from "./manual-clock.ts";
import { RigTask, type TaskWishes } from "./rig-task.ts";

export interface FleetRigOptions {
  readonly strategy?: StrategyName;
  readonly random?: () => number;
  readonly mechanisms?: Mechanisms;
  readonly maxAttempts?: number;
}

export interface WorkerWishes extends Partial<Omit<WorkerFacts, "id" | "path">> {
  readonly rttMs?: number | undefined;
  readonly deviationMs?: number;
  readonly bytesPerMs?: number;
}

/** How a worker answers: after so many milliseconds of computing, well or not; undefined: never. `tookMs`: how long it really computed. */
export type Service = (flight: Flight) => (Partial<Report> & { readonly tookMs?: number }) | undefined;

export class FleetRig {
  readonly clock = new ManualClock();
  readonly dispatcher: Dispatcher;
  readonly queue: RigTask[] = [];
  readonly tasks: RigTask[] = [];
  readonly sent: Flight[] = [];
  readonly healthChanges: string[] = [];
  /** Workers that cannot have any task. */
  readonly unable = new Set<string>();
  replicas: ReadonlySet<string> | undefined;
  /** False: copies cannot be sent now. */
  canCopy = true;
  strategy: StrategyName;
  readonly #maxAttempts: number;
  readonly #strategies: ReadonlyMap<StrategyName, Strategy> = createStrategies();
  readonly #facts = new Map<FleetWorker, { canSend: boolean; rttMs: number | undefined }>();
  readonly #services = new Map<FleetWorker, { readonly serve: Service; readonly freeAtMs: number[] }>();
  #lastTask = 0;
  #isInRound = false;

  constructor({ strategy = "LATENCY", random = () => 0, mechanisms, maxAttempts = 3 }: FleetRigOptions = {}) {
    this.strategy = strategy;
    this.#maxAttempts = maxAttempts;
    this.dispatcher = new Dispatcher(
      {
        clock: this.clock,
        random,
        strategyFor: () => this.#strategies.get(this.strategy) as Strategy,
        isAble: ({ id }) => !this.unable.has(id),
        replicasOf: () => this.replicas,
        waitingIn: (group) => this.queue.filter((task) => task.group === group).length,
        copy: (task, worker, purpose) => {
          if (this.canCopy) this.#send(task as RigTask, worker, purpose);
          return this.canCopy;
        },
        wake: () => this.round(),
        onHealth: ({ id }, isTrusted) =>
          this.healthChanges.push(`${id} ${isTrusted ? "trusted" : "ejected"}`),
      },
      mechanisms,
    );
  }

  // ---- workers

  join(id: string, wishes: WorkerWishes = {}): FleetWorker {
    const { rttMs = 10, deviationMs = 0.2, bytesPerMs, canSend = true, ...facts } = wishes;
    const variable = { canSend, rttMs: "rttMs" in wishes ? wishes.rttMs : rttMs };
    const worker = this.dispatcher.join({
      site: "lab",
      slots: 1,
      hardwareClass: "card",
      capability: "",
      maxBatch: () => 1,
      ...facts,
      id,
      get canSend() {
        return variable.canSend;
      },
      path: {
        get rttMs() {
          return variable.rttMs;
        },
        deviationMs,
        uploadMs: (bytes) => (bytesPerMs === undefined ? 0 : bytes / bytesPerMs),
      },
    });
    this.#facts.set(worker, variable);
    return worker;
  }

  /** A worker that runs what it holds in order, each task in a slot of its own. */
  serve(id: string, service: Service, wishes: WorkerWishes = {}): FleetWorker {
    const worker = this.join(id, wishes);
    this.serveBy(worker, service);
    return worker;
  }

  /** From now on. */
  serveBy(worker: FleetWorker, serve: Service): void {
    const freeAtMs = this.#services.get(worker)?.freeAtMs ?? Array.from({ length: worker.slots }, () => 0);
    this.#services.set(worker, { serve, freeAtMs });
  }

  /** Of whom the slow start is over and the speed is known. */
  veteran(id: string, executeMs: number, wishes: WorkerWishes = {}, answers = 12): FleetWorker {
    const worker = this.join(id, wishes);
    this.teach(worker, executeMs, answers);
    return worker;
  }

  teach(worker: FleetWorker, executeMs: number, answers = 12, model = "net"): void {
    for (let i = 0; i < answers; i += 1) {
      const task = this.newTask({ model, mayBeCopied: false });
      const flight = this.dispatcher.send(task, worker, "first");
      this.clock.advance(executeMs + 2 * worker.oneWayMs);
      this.dispatcher.answered(flight, report({ executeMs }));
    }
  }

  /** A task fails there. */
  teachFailure(worker: FleetWorker): void {
    const flight = this.sendTo(worker);
    this.clock.advance(1 + 2 * worker.oneWayMs);
    this.dispatcher.answered(flight, report({ isOk: false, executeMs: 1 }));
  }

  /** A task of its own, past the queue. */
  sendTo(worker: FleetWorker, wishes: TaskWishes = {}): Flight {
    const task = this.newTask({ mayBeCopied: false, ...wishes });
    // Nobody tries it again.
    task.end = { workerId: worker.id, isOk: true, afterMs: 0 };
    return this.dispatcher.send(task, worker, "first");
  }

  setCanSend(worker: FleetWorker, canSend: boolean): void {
    this.#variable(worker).canSend = canSend;
    this.dispatcher.changed(worker);
  }

  setRttMs(worker: FleetWorker, rttMs: number | undefined): void {
    this.#variable(worker).rttMs = rttMs;
    this.dispatcher.changed(worker);
  }

  // ---- tasks

  /** One more waits; a round follows. */
  add(wishes: TaskWishes = {}): RigTask {
    return this.addMany(1, wishes)[0] as RigTask;
  }

  /** At the same moment. */
  addMany(count: number, wishes: TaskWishes = {}): RigTask[] {
    const added = Array.from({ length: count }, () => this.newTask(wishes));
    for (const task of added) {
      this.dispatcher.arrived(task);
      this.queue.push(task);
      this.tasks.push(task);
    }
    this.round();
    return added;
  }

  /** One task every so often. */
  stream(count: number, everyMs: number, wishes: TaskWishes = {}): RigTask[] {
    return Array.from({ length: count }, () => {
      const task = this.add(wishes);
      this.clock.advance(everyMs);
      return task;
    });
  }

  round(): void {
    if (this.#isInRound) return;
    this.#isInRound = true;
    const refused = new Set<string>();
    if (this.dispatcher.beginRound(this.queue.length)) {
      for (const task of [...this.queue]) {
        if (refused.has(task.group) || !this.queue.includes(task)) continue;
        const worker = this.dispatcher.choose(task);
        if (worker === undefined) refused.add(task.group);
        else this.#take(task, worker);
      }
    }
    this.dispatcher.endRound();
    this.#isInRound = false;
  }

  answer(flight: Flight, told: Partial<Report> = {}): void {
    const isNews = !flight.isOver;
    const given = report(told);
    this.dispatcher.answered(flight, given);
    if (isNews) this.#settle(flight, given.isOk);
    this.round();
  }

  /** Who had it first; undefined: nobody has it. */
  holderOf({ flights }: RigTask): FleetWorker | undefined {
    return flights?.[0]?.worker;
  }

  /** Its worker answers. */
  answerTo(task: RigTask, told: Partial<Report> = {}): void {
    const flight = task.flights?.[0];
    if (flight === undefined) throw new Error("Nobody has it.");
    this.answer(flight, told);
  }

  /** Its worker will not answer it any more. */
  lost({ task: given }: Flight): void {
    const task = given as RigTask;
    if (task.end === undefined && (task.flights?.length ?? 0) === 0) this.queue.unshift(task);
  }

  /** What it holds now. */
  heldBy(worker: FleetWorker): number {
    return worker.flights.length;
  }

  /** Of all that were sent to it since the start. */
  sentTo(worker: FleetWorker): Flight[] {
    return this.sent.filter((flight) => flight.worker === worker);
  }

  copies(): Flight[] {
    return this.sent.filter(({ isCopy }) => isCopy);
  }

  explain(task: RigTask, chosen?: FleetWorker): Choice {
    return this.dispatcher.explain(task, chosen);
  }

  /** Nobody has it yet, and it does not wait. */
  newTask(wishes: TaskWishes): RigTask {
    this.#lastTask += 1;
    return new RigTask(this.#lastTask, wishes, this.clock.monotonic(), this.#maxAttempts);
  }

  // ----

  #take(task: RigTask, worker: FleetWorker): void {
    this.queue.splice(this.queue.indexOf(task), 1);
    this.#send(task, worker, task.failures > 0 ? "retry" : "first");
  }

  #send(task: RigTask, worker: FleetWorker, purpose: FlightPurpose): void {
    const flight = this.dispatcher.send(task, worker, purpose);
    this.sent.push(flight);
    const service = this.#services.get(worker);
    const given = service?.serve(flight);
    if (service === undefined || given === undefined) return;
    const { freeAtMs } = service;
    const rttMs = this.#variable(worker).rttMs ?? 10;
    const slot = freeAtMs.indexOf(Math.min(...freeAtMs));
    const arrivesAtMs = this.clock.monotonic() + rttMs / 2;
    const startMs = Math.max(arrivesAtMs, freeAtMs[slot] as number);
    const endMs = startMs + (given.loadMs ?? 0) + (given.tookMs ?? given.executeMs ?? 0);
    freeAtMs[slot] = endMs;
    this.clock.after(endMs + rttMs / 2 - this.clock.monotonic(), () =>
      this.answer(flight, { queuedMs: startMs - arrivesAtMs, ...given }),
    );
  }

  #settle({ task: given, worker }: Flight, isOk: boolean): void {
    const task = given as RigTask;
    if (task.end !== undefined) return;
    const end = { workerId: worker.id, isOk, afterMs: this.clock.monotonic() - task.addedAtMs };
    if (isOk) {
      task.end = end;
      for (const other of [...(task.flights ?? [])]) this.dispatcher.superseded(other);
      return;
    }
    task.failures += 1;
    task.triedWorkerIds ??= new Set();
    task.triedWorkerIds.add(worker.id);
    if ((task.flights?.length ?? 0) > 0) return;
    if (task.failures >= this.#maxAttempts) task.end = end;
    else this.queue.unshift(task);
  }

  #variable(worker: FleetWorker): { canSend: boolean; rttMs: number | undefined } {
    const variable = this.#facts.get(worker);
    if (variable === undefined) throw new Error(`${worker.id} is not of this rig.`);
    return variable;
  }
}

function report(told: Partial<Report>): Report {
  return { isOk: true, queuedMs: 0, executeMs: 50, loadMs: 0, batchSize: 1, ...told };
}
