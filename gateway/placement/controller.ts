/**
 * Keeps deployed models loaded where they should be: looks every second, and when something happens; asks the planner; has workers load and
 * unload; and tells the scheduler who may run what.
 *
 * Nothing but the deployments themselves is stored. After a restart the workers say what they have loaded, and that is adopted.
 */

import { type Clock, every, type Timer } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import type { Model } from "../models/catalogue.ts";
import type { ModelStateMessage, Worker } from "../registry/worker.ts";
import type { ReplicaGate } from "../scheduler/replica-gate.ts";
import { modelKey, type TaskRecord } from "../tasks/record.ts";
import type { DemandSample } from "./demand.ts";
import { DeployedModels } from "./deployed-models.ts";
import type { Deployment, Deployments } from "./deployments.ts";
import { estimateLoad } from "./load-estimate.ts";
import { plan } from "./planner.ts";
import { ReplicaReports } from "./replica-reports.ts";
import type { Replica, Replicas } from "./replicas.ts";
import { type ModelName, Survey, type SurveyPorts } from "./survey.ts";
import type { Change } from "./views.ts";
import { WorkerOrders } from "./worker-orders.ts";
import { conditionOf, workerView } from "./worker-views.ts";

const LOOK_EVERY_MS = 1000;
/** What happens at one moment is planned for together. */
const SOON_MS = 10;

export interface PlacementOptions extends SurveyPorts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly deployments: Deployments;
  /** @throws `model_not_found` */
  readonly findModel: (name: string, version: string | undefined) => Model;
  /** Somebody may run more than before. */
  readonly dispatch: () => void;
}

/** How a deployment stands. */
export interface Standing {
  readonly deployment: Deployment;
  /** Undefined: there is no such version. */
  readonly model: Model | undefined;
  readonly replicas: Replicas;
  readonly sample: DemandSample;
  readonly inFlight: (replica: Replica) => number;
}

export class Placement implements ReplicaGate {
  readonly #options: PlacementOptions;
  readonly #startedAtMs: number;
  readonly #deployed: DeployedModels;
  readonly #reports: ReplicaReports;
  readonly #orders: WorkerOrders;
  #looking: Timer | undefined;
  #soon: Timer | undefined;

  constructor(options: PlacementOptions) {
    this.#options = options;
    this.#orders = new WorkerOrders(options.clock);
    this.#startedAtMs = options.clock.monotonic();
    this.#deployed = new DeployedModels(options);
    this.#reports = new ReplicaReports({
      log: options.log,
      deployments: options.deployments,
      deployed: this.#deployed,
      unload: (replica) => this.#sendUnload(replica),
      lookSoon: () => this.#lookSoon(),
    });
  }

  start(): void {
    this.#looking = every(this.#options.clock, LOOK_EVERY_MS, () => this.look());
  }

  close(): void {
    this.#looking?.cancel();
    this.#soon?.cancel();
  }

  // ---- ReplicaGate

  replicasOf(model: ModelName): ReadonlySet<string> | undefined {
    return this.#deployed.readyFor(model);
  }

  starved({ name }: ModelName): void {
    const replicas = this.#deployed.find(name);
    if (replicas === undefined || replicas.isStarved) return;
    replicas.isStarved = true;
    this.#lookSoon();
  }

  reason(model: ModelName): string | undefined {
    const replicas = this.#deployed.find(model.name);
    if (replicas === undefined || this.replicasOf(model) === undefined) return undefined;
    const loading = replicas.of(model.version).filter(({ state }) => state === "loading");
    if (loading.length > 0) {
      const names = loading.map(({ workerId }) => workerId).join(", ");
      return `${modelKey(model)} is being loaded on ${names}.`;
    }
    return replicas.shortfall === undefined ? undefined : `${modelKey(model)}: ${replicas.shortfall}`;
  }

  // ---- what happens

  /** A deployment was made, changed or removed. */
  changed(model: string): void {
    const replicas = this.#deployed.of(model);
    replicas.failures.clear();
    this.#deployed.openGates();
    this.#lookSoon();
    this.#options.dispatch();
  }

  /** A worker said something of a model; it has been noted with the worker. */
  heard(worker: Worker, message: ModelStateMessage): void {
    this.#reports.heard(worker, message);
  }

  gone(worker: Worker): void {
    this.#orders.forget(worker);
    for (const replicas of this.#deployed.all)
      for (const replica of replicas.all) if (replica.workerId === worker.id) replicas.remove(replica);
    this.#deployed.openGates();
    this.#lookSoon();
  }

  settled({ model, timings }: TaskRecord): void {
    const replicas = this.#deployed.find(model.name);
    if (replicas === undefined || timings === undefined) return;
    const { preprocessMs, executeMs, postprocessMs, batchSize = 1 } = timings.onWorker;
    const busyMs = (preprocessMs + executeMs + postprocessMs) / batchSize;
    replicas.demand.served(busyMs, this.#options.clock.monotonic());
  }

  /**
   * Somebody wants the model, though no task waits for it.
   * @returns false when it is not deployed
   */
  wake(model: ModelName): boolean {
    if (this.replicasOf(model) === undefined) return false;
    this.#deployed.of(model.name).demand.need(1, this.#options.clock.monotonic());
    this.#lookSoon();
    return true;
  }

  /**
   * For callers who do not wait for long. That they asked is reason enough to load it.
   * @throws `model_loading` when it is deployed, loaded nowhere, and will not be in time
   */
  assertInTime(model: ModelName, timeoutMs: number): void {
    if (this.replicasOf(model)?.size !== 0) return;
    const { clock, workers } = this.#options;
    const replicas = this.#deployed.of(model.name);
    const loading = replicas
      .of(model.version)
      .filter(({ state }) => state === "loading")
      .map((replica) => ({ replica, said: workers.get(replica.workerId)?.models.get(modelKey(model)) }));
    const estimate = estimateLoad(loading, replicas.lastColdStart, clock.monotonic());
    if (estimate === undefined || estimate.leftMs <= timeoutMs) return;
    this.wake(model);
    const seconds = Math.max(1, Math.ceil(estimate.leftMs / 1000));
    const percent = estimate.progress === undefined ? undefined : Math.floor(100 * estimate.progress);
    const howFar = percent === undefined ? "" : ` (${percent} %)`;
    throw fail(
      "model_loading",
      `Model ${model.name} is being loaded${howFar}; that takes about ${seconds} s more, and the request may wait ${Math.round(timeoutMs)} ms.`,
      {
        model: model.name,
        version: model.version,
        retryAfterSeconds: seconds,
        ...(percent === undefined ? {} : { percent }),
      },
    );
  }

  // ---- for those who look

  standings(): Standing[] {
    const survey = this.#survey();
    return this.#options.deployments.list().map((deployment) => this.#standing(deployment, survey));
  }

  standing(deployment: Deployment): Standing {
    return this.#standing(deployment, this.#survey());
  }

  /** Once: compares what is with what should be, and has it changed. */
  look(): void {
    this.#soon?.cancel();
    this.#soon = undefined;
    const deployed = this.#deployed.all;
    if (deployed.length === 0) return;
    const { workers, clock, deployments } = this.#options;
    const all = [...workers.all];
    this.#talkTo(all);
    const survey = this.#survey();
    const views = deployed.map((replicas) => {
      const deployment = deployments.find(replicas.model);
      return survey.view(replicas, deployment, deployment && this.#deployed.modelOf(deployment));
    });
    const nowMs = clock.monotonic();
    const workerViews = all.map((worker) =>
      workerView(worker, this.#orders.isNew(worker) ? "pausing" : conditionOf(worker, nowMs)),
    );
    const { changes, targets, shortfalls } = plan(views, workerViews);
    for (const [model, target] of targets) {
      const replicas = this.#deployed.of(model);
      replicas.target = target;
      replicas.shortfall = shortfalls.get(model);
      replicas.isStarved = false;
    }
    for (const change of changes) this.#apply(change);
    this.#deployed.forgetUndeployed();
    this.#deployed.openGates();
    if (changes.length === 0) return;
    this.#options.dispatch();
    // Who holds nothing need not wait for the next look to be unloaded.
    if (changes.some(({ kind }) => kind === "retire" || kind === "dismiss")) this.#lookSoon();
  }

  // ---- what is done

  #apply({ kind, model, version, workerId, why }: Change): void {
    const { log, workers, clock } = this.#options;
    const replicas = this.#deployed.of(model);
    const worker = workers.get(workerId);
    const known = replicas.find(workerId, version);
    log.info({ model, version, workerId, why }, `placement: ${kind}`);
    switch (kind) {
      case "load":
      case "adopt":
      case "dismiss": {
        const found = this.#deployed.refOf(model);
        if (found === undefined || worker?.link === undefined) return;
        const state = ({ load: "loading", adopt: "ready", dismiss: "retiring" } as const)[kind];
        const replica = replicas.add(found, workerId, worker.link.sessionId, state);
        if (kind !== "dismiss") replicas.demand.need(replicas.target, clock.monotonic());
        if (kind === "load") worker.link.announce(found, "preload");
        else replica.provider = worker.models.get(modelKey(found))?.provider;
        return;
      }
      case "retire":
      case "keep":
        if (known !== undefined) replicas.move(known, kind === "retire" ? "retiring" : "ready");
        return;
      case "unload":
        if (known === undefined) return;
        replicas.remove(known);
        this.#sendUnload(known);
        return;
      default:
        kind satisfies never;
    }
  }

  #sendUnload(replica: Replica): void {
    const worker = this.#options.workers.get(replica.workerId);
    if (worker !== undefined) this.#orders.unload(replica, worker);
  }

  #talkTo(workers: readonly Worker[]): void {
    const { holdsFile } = this.#options;
    const refs = this.#deployed.all.flatMap(({ model }) => this.#deployed.refOf(model) ?? []);
    for (const worker of workers)
      this.#orders.introduce(worker, refs, ({ file }) => holdsFile(worker.id, file));
    for (const replicas of this.#deployed.all)
      for (const replica of replicas.all) {
        const worker = this.#options.workers.get(replica.workerId);
        if (worker !== undefined) this.#orders.remind(replica, worker);
      }
  }

  // ---- inside

  #survey(): Survey {
    return new Survey(this.#options, this.#startedAtMs);
  }

  #standing(deployment: Deployment, survey: Survey): Standing {
    const replicas = this.#deployed.of(deployment.model);
    const model = this.#deployed.modelOf(deployment);
    const sample = survey.sample(replicas, model);
    return { deployment, model, replicas, sample, inFlight: (replica) => survey.inFlight(replica) };
  }

  #lookSoon(): void {
    this.#soon ??= this.#options.clock.after(SOON_MS, () => this.look());
  }
}
