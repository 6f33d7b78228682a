/**
 * The dispatcher in the gateway: tells it what becomes of workers and attempts, and translates between its words and the scheduler's.
 *
 * Workers come from the registry, which it watches; what each attempt comes to the scheduler says.
 */

import type { Clock, Random } from "@legacygpu/shared/clock";
import type { WireError } from "@legacygpu/shared/errors";
import type { AttemptTimings } from "@legacygpu/shared/protocol/messages";
import type { CopyPurpose } from "@legacygpu/shared/task";
import type { Strategy } from "../balancers/strategy.ts";
import type { Choice } from "../dispatch/choice.ts";
import { Dispatcher } from "../dispatch/dispatcher.ts";
import type { FleetWorker } from "../dispatch/fleet-worker.ts";
import type { Flight, FlightPurpose } from "../dispatch/flight.ts";
import { serviceMs } from "../registry/answer.ts";
import type { Registry, WorkerWatcher } from "../registry/registry.ts";
import type { Worker } from "../registry/worker.ts";
import { modelKey, type Placement } from "../tasks/record.ts";
import { meetsRequirements, REGION_LABEL } from "./able.ts";
import type { Entry } from "./entry.ts";
import type { Groups } from "./groups.ts";
import type { ReplicaGate } from "./replica-gate.ts";
import { type MaxBatchOf, ScheduledWorker } from "./scheduled-worker.ts";

/** What the machine is to blame for; a failing model or a bad input says nothing about it. */
const MACHINE_FAULTS: ReadonlySet<string> = new Set(["transfer_failed", "internal"]);

/** Who asks for more of them wants every worker told apart. */
const MAX_ASKED_LABELS = 64;

export interface DispatchingOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly registry: Registry;
  readonly groups: Groups;
  readonly gate: ReplicaGate;
  /** Which strategy decides about a model. */
  readonly strategyFor: (modelName: string) => Strategy;
  readonly maxBatchOf: MaxBatchOf;
  readonly waitingIn: (group: string) => number;
  /** Begins another attempt of a task that a worker has already. @returns false when that cannot be done. */
  readonly copy: (entry: Entry, worker: Worker, purpose: CopyPurpose) => boolean;
  /** Something may have become possible: what waits is to be offered. */
  readonly wake: () => void;
}

export class Dispatching implements WorkerWatcher {
  readonly #options: DispatchingOptions;
  readonly #dispatcher: Dispatcher;
  readonly #members = new Map<Worker, FleetWorker>();
  /** Names of labels that a placement has asked for. */
  readonly #askedLabels = new Set<string>();
  /** Why a task failed on a worker last. */
  readonly #lastFaults = new WeakMap<Worker, string>();

  constructor(options: DispatchingOptions) {
    const { clock, random, groups, gate, registry } = options;
    this.#options = options;
    this.#dispatcher = new Dispatcher({
      clock,
      random,
      strategyFor: (model) => options.strategyFor(nameIn(model)),
      isAble: (member, { group }) => meetsRequirements(workerOf(member), groups.requirements(group)),
      replicasOf: (model) => gate.replicasOf(modelIn(model)),
      waitingIn: options.waitingIn,
      copy: (task, member, purpose) => options.copy(task as Entry, workerOf(member), purpose),
      wake: options.wake,
      onHealth: (member, isTrusted, forMs) => this.#healthChanged(workerOf(member), isTrusted, forMs),
    });
    registry.watch(this);
  }

  close(): void {
    this.#dispatcher.close();
  }

  // ---- workers

  arrived(worker: Worker): void {
    const facts = new ScheduledWorker(worker, this.#options.maxBatchOf);
    facts.tellApartBy(this.#tellingLabels);
    const member = this.#dispatcher.join(facts);
    this.#members.set(worker, member);
    this.modelsChanged(worker);
  }

  stateChanged(worker: Worker): void {
    const member = this.#members.get(worker);
    if (member === undefined) return;
    if (worker.state === "GONE") {
      this.#dispatcher.leave(member);
      this.#members.delete(worker);
      return;
    }
    this.#dispatcher.setAvailable(member, worker.state === "HEALTHY" || worker.state === "DEGRADED");
  }

  modelsChanged(worker: Worker): void {
    const member = this.#members.get(worker);
    if (member === undefined) return;
    const { clock } = this.#options;
    const aheadMs = clock.monotonic() - clock.now();
    const refusals = [...worker.refusals].map(([model, untilMs]) => [model, untilMs + aheadMs] as const);
    this.#dispatcher.refusals(member, new Map(refusals));
    const resident = [...worker.models].filter(([, { state }]) => state === "ready").map(([model]) => model);
    this.#dispatcher.residents(member, resident);
  }

  /** There is room on its link again. */
  roomAgain(worker: Worker): void {
    const member = this.#members.get(worker);
    if (member !== undefined) this.#dispatcher.changed(member);
  }

  pinged(worker: Worker): void {
    const member = this.#members.get(worker);
    if (member !== undefined) this.#dispatcher.pinged(member);
  }

  heard(worker: Worker): void {
    const member = this.#members.get(worker);
    if (member !== undefined) this.#dispatcher.heard(member);
  }

  /** How many attempts it may hold now. */
  creditOf(worker: Worker): number {
    return this.#members.get(worker)?.credit ?? 0;
  }

  // ---- tasks

  /** A task that nobody has had yet is in the queue. */
  entered(entry: Entry): void {
    this.#name(entry);
    this.#dispatcher.arrived(entry);
  }

  beginRound(waiting: number): boolean {
    return this.#dispatcher.beginRound(waiting);
  }

  endRound(): void {
    this.#dispatcher.endRound();
  }

  choose(entry: Entry): Worker | undefined {
    this.#name(entry);
    const member = this.#dispatcher.choose(entry);
    return member === undefined ? undefined : workerOf(member);
  }

  /** @param chosen who has just been given the task; undefined: it waits */
  explain(entry: Entry, chosen: Worker | undefined): Choice {
    this.#name(entry);
    return this.#dispatcher.explain(entry, chosen && this.#members.get(chosen));
  }

  sent(entry: Entry, worker: Worker, purpose: FlightPurpose): Flight | undefined {
    this.#name(entry);
    const member = this.#members.get(worker);
    return member === undefined ? undefined : this.#dispatcher.send(entry, member, purpose);
  }

  /** @param outputBytes that came with it */
  completed(flight: Flight, timings: AttemptTimings, outputBytes = 0): void {
    const { model } = flight.task;
    // More than are allowed to run together did not.
    const batchSize = Math.min(timings.batchSize ?? 1, this.#options.maxBatchOf(model));
    factsOf(flight.worker).ranAsOne(model, batchSize);
    this.#dispatcher.answered(flight, {
      isOk: true,
      queuedMs: timings.queuedMs,
      executeMs: serviceMs(timings),
      loadMs: timings.loadMs,
      batchSize,
      outputBytes,
    });
  }

  failed(flight: Flight, worker: Worker, error: WireError): void {
    this.#lastFaults.set(worker, error.message);
    if (!MACHINE_FAULTS.has(error.code)) {
      this.#dispatcher.released(flight);
      return;
    }
    this.#dispatcher.answered(flight, FAILED);
  }

  /** What failed there another worker has done: it was not the task. */
  blamed(flight: Flight): void {
    this.#dispatcher.blamed(flight);
  }

  superseded(flight: Flight): void {
    this.#dispatcher.superseded(flight);
  }

  released(flight: Flight): void {
    this.#dispatcher.released(flight);
  }

  // ---- inside

  #name(entry: Entry): void {
    if (entry.model !== "") return;
    const { model, placement } = this.#options.groups.requirements(entry.group);
    entry.model = modelKey(model);
    if (placement !== undefined) this.#noteLabels(placement);
  }

  #noteLabels({ labels = {}, residency }: Placement): void {
    const known = this.#askedLabels.size;
    if (known > MAX_ASKED_LABELS) return;
    for (const name of Object.keys(labels)) this.#askedLabels.add(name);
    if (residency !== undefined) this.#askedLabels.add(REGION_LABEL);
    if (this.#askedLabels.size === known) return;
    for (const member of this.#members.values()) {
      factsOf(member).tellApartBy(this.#tellingLabels);
      this.#dispatcher.changed(member);
    }
  }

  /** Undefined: all that a worker has. */
  get #tellingLabels(): ReadonlySet<string> | undefined {
    return this.#askedLabels.size > MAX_ASKED_LABELS ? undefined : this.#askedLabels;
  }

  #healthChanged(worker: Worker, isTrusted: boolean, forMs: number): void {
    const { registry } = this.#options;
    if (isTrusted) registry.trust(worker);
    else registry.spare(worker, forMs, this.#lastFaults.get(worker) ?? "unknown");
  }
}

const FAILED = { isOk: false, queuedMs: 0, executeMs: 0, loadMs: 0, batchSize: 1 } as const;

/** All members were made here. */
function factsOf({ facts }: FleetWorker): ScheduledWorker {
  return facts as ScheduledWorker;
}

function workerOf(member: FleetWorker): Worker {
  return factsOf(member).worker;
}

function nameIn(model: string): string {
  return model.slice(0, model.lastIndexOf("@"));
}

function modelIn(model: string): { readonly name: string; readonly version: string } {
  const at = model.lastIndexOf("@");
  return { name: model.slice(0, at), version: model.slice(at + 1) };
}
