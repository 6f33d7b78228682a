/** How everything stands at this moment, as the planner and people want to know it: replicas, tasks in hand, what workers have. */

import type { Clock } from "@legacygpu/shared/clock";
import { timeOfId } from "@legacygpu/shared/ids";
import type { ModelRef } from "@legacygpu/shared/protocol/messages";
import type { Model } from "../models/catalogue.ts";
import type { Worker } from "../registry/worker.ts";
import { modelKey } from "../tasks/record.ts";
import type { DemandSample } from "./demand.ts";
import type { Deployment } from "./deployments.ts";
import type { Replica, Replicas } from "./replicas.ts";
import type { DeploymentView } from "./views.ts";
import { placedVersion } from "./worker-views.ts";

/** So long after a replica has become ready its effect on the waiting tasks can be seen. */
const SETTLE_MS = 5000;
/** After a restart most workers are back within this time, with what they have loaded. */
const RETURN_MS = 5000;

export type ModelName = { readonly name: string; readonly version: string };

/** What is to be known of the tasks in hand. */
export interface PlacementTasks {
  queueOf(model: string, version: string): { readonly count: number; readonly oldest: string | undefined };
  held(): Iterable<{ readonly model: ModelName; readonly workerId: string }>;
  isPaused(model: string): boolean;
}

export interface SurveyPorts {
  readonly clock: Clock;
  readonly workers: { readonly all: Iterable<Worker>; get(id: string): Worker | undefined };
  /** Whether a worker has a file on its disk. */
  readonly holdsFile: (workerId: string, digest: string) => boolean;
  readonly tasks: PlacementTasks;
}

const NOBODY: ReadonlySet<string> = new Set();
const NO_DEMAND: DemandSample = {
  waiting: 0,
  inFlight: 0,
  oldestWaitMs: 0,
  readySlots: 0,
  readyForMs: 0,
  slotsPerReplica: 1,
};

export class Survey {
  readonly #ports: SurveyPorts;
  readonly #startedAtMs: number;
  readonly #held = new Map<string, number>();
  readonly #workers: readonly Worker[];

  /** @param startedAtMs monotonic; of the gateway */
  constructor(ports: SurveyPorts, startedAtMs: number) {
    this.#ports = ports;
    this.#startedAtMs = startedAtMs;
    this.#workers = [...ports.workers.all];
    for (const { model, workerId } of ports.tasks.held()) {
      const key = heldKey(model, workerId);
      this.#held.set(key, (this.#held.get(key) ?? 0) + 1);
    }
  }

  inFlight({ ref, workerId }: Replica): number {
    return this.#held.get(heldKey(ref, workerId)) ?? 0;
  }

  /** @param model undefined: it is not deployed any more, or there is no such version */
  view(replicas: Replicas, deployment: Deployment | undefined, model: Model | undefined): DeploymentView {
    const nowMs = this.#ports.clock.monotonic();
    const common = {
      model: replicas.model,
      replicas: replicas.all.map((replica) => ({
        workerId: replica.workerId,
        version: replica.ref.version,
        state: replica.state,
        inFlight: this.inFlight(replica),
      })),
      target: replicas.target,
      isSettled: nowMs - replicas.lastReadyAtMs >= SETTLE_MS,
    };
    if (deployment === undefined || model === undefined) {
      const demand = { waiting: 0, estimatedWaitMs: undefined, retained: 0 };
      const nothing = { minReplicas: 0, maxReplicas: 0, wanted: undefined, demand };
      return { ...common, ...nothing, barred: NOBODY, holders: NOBODY, loaded: NOBODY };
    }
    const sample = this.sample(replicas, model);
    replicas.demand.observe(sample, deployment.maxReplicas, nowMs);
    return {
      ...common,
      ...this.#whoHas(replicas, model.ref),
      minReplicas: this.#isEarly(deployment, sample.waiting) ? 0 : deployment.minReplicas,
      maxReplicas: deployment.maxReplicas,
      wanted: placedVersion(deployment, model),
      demand: {
        waiting: sample.waiting,
        estimatedWaitMs: replicas.demand.estimatedWaitMs(sample),
        retained: replicas.demand.retained(deployment.idleTtlMs, nowMs),
      },
    };
  }

  sample(replicas: Replicas, model: Model | undefined): DemandSample {
    if (model === undefined) return NO_DEMAND;
    const { clock, tasks, workers } = this.#ports;
    const { name, version } = model.ref;
    const nowMs = clock.monotonic();
    const { count, oldest } = tasks.isPaused(name)
      ? { count: 0, oldest: undefined }
      : tasks.queueOf(name, version);
    const own = replicas.of(version);
    const ready = own.filter(({ state }) => state === "ready");
    const readySlots = ready.reduce((sum, { workerId }) => sum + (workers.get(workerId)?.slots ?? 0), 0);
    return {
      waiting: count,
      inFlight: own.reduce((sum, replica) => sum + this.inFlight(replica), 0),
      oldestWaitMs: oldest === undefined ? 0 : Math.max(0, clock.now() - timeOfId(oldest)),
      readySlots,
      readyForMs: ready.reduce((most, { readyAtMs = nowMs }) => Math.max(most, nowMs - readyAtMs), 0),
      slotsPerReplica: ready.length === 0 ? 1 : Math.max(1, readySlots / ready.length),
    };
  }

  #whoHas(replicas: Replicas, ref: ModelRef): Pick<DeploymentView, "barred" | "holders" | "loaded"> {
    const { clock, holdsFile } = this.#ports;
    const nowMs = clock.now();
    const idsOf = (is: (worker: Worker) => boolean): ReadonlySet<string> =>
      new Set(this.#workers.filter(is).map(({ id }) => id));
    const key = modelKey(ref);
    return {
      barred: idsOf(
        (worker) => replicas.failures.isBarred(worker.id, ref.version) || !worker.canRun(ref, nowMs),
      ),
      holders: idsOf(({ id }) => holdsFile(id, ref.file)),
      loaded: idsOf(
        ({ id, link, models }) =>
          link !== undefined &&
          models.get(key)?.state === "ready" &&
          replicas.find(id, ref.version) === undefined,
      ),
    };
  }

  /** Until the workers of an earlier start are back, nothing is loaded that one of them may have. */
  #isEarly({ updatedAtMs }: Deployment, waiting: number): boolean {
    const { clock } = this.#ports;
    const upForMs = clock.monotonic() - this.#startedAtMs;
    return waiting === 0 && upForMs < RETURN_MS && updatedAtMs < clock.now() - upForMs;
  }
}

const heldKey = (model: ModelName, workerId: string): string => `${modelKey(model)} ${workerId}`;
