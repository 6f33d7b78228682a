/**
 * What is to change so that every deployed model is loaded where it should be. A pure function, asked again and again: each answer is a step,
 * and when nothing changes outside, the answers come to an end.
 *
 * How many: at least the least number. Above it, one more at a time while tasks would wait too long, and one or more less when for the idle
 * time to live so many were never needed; with a least number of 0 that is none at all, until the first task waits.
 *
 * A replica that moves is loaded in its new place first, and its old place gets no more tasks only when the new one is ready.
 */

import type {
  Change,
  ChangeKind,
  DeploymentView,
  PlacedVersion,
  Plan,
  ReplicaView,
  WorkerView,
} from "./views.ts";
import { chooseWorker, mayHold, type Occupancy } from "./worker-choice.ts";

/** Tasks that wait longer are reason for another replica. */
export const LONG_WAIT_MS = 3_000;

export function plan(views: readonly DeploymentView[], workers: readonly WorkerView[]): Plan {
  const occupancies = occupanciesOf(views);
  const steps = views.map((view) => new Step(view, workers, occupancies).run());
  return {
    changes: steps.flatMap(({ changes }) => changes),
    targets: new Map(steps.map(({ model, target }) => [model, target])),
    shortfalls: new Map(
      steps.flatMap(({ model, shortfall }) => (shortfall === undefined ? [] : [[model, shortfall]])),
    ),
  };
}

class Step {
  readonly model: string;
  readonly changes: Change[] = [];
  target = 0;
  shortfall: string | undefined;
  readonly #view: DeploymentView;
  readonly #workers: readonly WorkerView[];
  readonly #byId: ReadonlyMap<string, WorkerView>;
  readonly #occupancies: Map<string, Occupancy>;

  constructor(view: DeploymentView, workers: readonly WorkerView[], occupancies: Map<string, Occupancy>) {
    this.model = view.model;
    this.#view = view;
    this.#workers = workers;
    this.#byId = new Map(workers.map((worker) => [worker.id, worker]));
    this.#occupancies = occupancies;
  }

  run(): this {
    const { wanted, replicas } = this.#view;
    const own = replicas.filter(({ version }) => version === wanted?.version);
    const serving = own.filter(({ state }) => state !== "retiring");
    const good = serving.filter(({ workerId }) => this.#isGood(workerId, wanted));
    const ready = good.filter(({ state }) => state === "ready");
    const adopted = wanted === undefined ? [] : this.#adopt(wanted, good.length);
    const readyCount = ready.length + adopted.length;
    this.target = targetOf(this.#view, readyCount, adopted.length);
    const kept = this.#keep(own, wanted, this.target - good.length - adopted.length);
    if (wanted !== undefined) this.#load(wanted, good.length + adopted.length + kept, own, adopted);
    this.#retireSurplus(ready, readyCount - this.target);
    if (readyCount >= this.target) this.#retireReplaced(replicas, good);
    this.#unload(replicas);
    return this;
  }

  /** What has it loaded from before, up to the largest number; the rest goes. */
  #adopt(wanted: PlacedVersion, count: number): string[] {
    const adopted: string[] = [];
    for (const workerId of [...this.#view.loaded].sort()) {
      const isAdopted = this.#isGood(workerId, wanted) && count + adopted.length < this.#view.maxReplicas;
      if (isAdopted) adopted.push(workerId);
      const why = isAdopted
        ? "it has it loaded"
        : "it has it loaded, and the deployment does not want it there";
      this.#note(isAdopted ? "adopt" : "dismiss", wanted.version, workerId, why);
    }
    return adopted;
  }

  /** @returns how many that were retiring are kept after all. */
  #keep(own: readonly ReplicaView[], wanted: PlacedVersion | undefined, missing: number): number {
    const candidates = own.filter(
      ({ state, workerId }) => state === "retiring" && this.#isGood(workerId, wanted),
    );
    const kept = candidates.slice(0, Math.max(0, missing));
    for (const { workerId, version } of kept) this.#note("keep", version, workerId, "it is wanted again");
    return kept.length;
  }

  #load(wanted: PlacedVersion, count: number, own: readonly ReplicaView[], adopted: readonly string[]): void {
    const taken = new Set([...own.map(({ workerId }) => workerId), ...adopted]);
    for (let have = count; have < this.target; have += 1) {
      const choice = chooseWorker({
        view: this.#view,
        wanted,
        workers: this.#workers,
        occupancies: this.#occupancies,
        taken,
        isForMinimum: have < this.#view.minReplicas,
      });
      if (choice.worker === undefined) {
        this.shortfall = choice.why;
        return;
      }
      taken.add(choice.worker.id);
      occupy(this.#occupancies, choice.worker.id, wanted.needBytes);
      this.#note("load", wanted.version, choice.worker.id, choice.why);
    }
  }

  /** The least busy first, at the site that has most. */
  #retireSurplus(ready: readonly ReplicaView[], surplus: number): void {
    const left = [...ready];
    for (let count = surplus; count > 0 && left.length > 0; count -= 1) {
      const sites = new Map<string, number>();
      for (const { workerId } of left) {
        const site = this.#siteOf(workerId);
        sites.set(site, (sites.get(site) ?? 0) + 1);
      }
      const crowd = ({ workerId }: ReplicaView): number => sites.get(this.#siteOf(workerId)) ?? 0;
      left.sort(
        (a, b) => crowd(b) - crowd(a) || a.inFlight - b.inFlight || (a.workerId < b.workerId ? 1 : -1),
      );
      const victim = left.shift();
      if (victim !== undefined)
        this.#note("retire", victim.version, victim.workerId, "fewer replicas are needed");
    }
  }

  /** Of an earlier version, or in a place that does not suit any more. What still loads is let come to its end first. */
  #retireReplaced(replicas: readonly ReplicaView[], good: readonly ReplicaView[]): void {
    for (const replica of replicas) {
      if (replica.state !== "ready" || good.includes(replica)) continue;
      const isOutdated = replica.version !== this.#view.wanted?.version;
      const why = isOutdated ? "it is not the version that is wanted" : "it is replaced by another worker's";
      this.#note("retire", replica.version, replica.workerId, why);
    }
  }

  #unload(replicas: readonly ReplicaView[]): void {
    for (const { state, inFlight, workerId, version } of replicas) {
      if (state !== "retiring" || inFlight > 0) continue;
      const isKept = this.changes.some(
        (change) => change.kind === "keep" && change.workerId === workerId && change.version === version,
      );
      if (!isKept) this.#note("unload", version, workerId, "it holds no task of it any more");
    }
  }

  #isGood(workerId: string, wanted: PlacedVersion | undefined): boolean {
    const worker = this.#byId.get(workerId);
    return (
      worker !== undefined &&
      wanted !== undefined &&
      worker.condition !== "failing" &&
      mayHold(worker, wanted)
    );
  }

  #siteOf(workerId: string): string {
    return this.#byId.get(workerId)?.site ?? "";
  }

  #note(kind: ChangeKind, version: string, workerId: string, why: string): void {
    this.changes.push({ kind, model: this.model, version, workerId, why });
  }
}

function targetOf(view: DeploymentView, readyCount: number, adoptedCount: number): number {
  const { wanted, minReplicas, maxReplicas, demand, isSettled } = view;
  if (wanted === undefined) return 0;
  const last = Math.min(maxReplicas, view.target);
  const isAsked = demand.waiting > 0 || demand.retained > 0;
  // What is adopted was of use to somebody: it stays until it has been idle for long enough.
  const adopted = adoptedCount > 0 ? readyCount : 0;
  const held = Math.max(minReplicas, isAsked ? 1 : 0, Math.min(demand.retained, last), adopted);
  const isSlow = (demand.estimatedWaitMs ?? 0) > LONG_WAIT_MS;
  const grown = isSlow && isSettled && readyCount >= last && last > 0 ? last + 1 : 0;
  return Math.min(maxReplicas, Math.max(held, grown));
}

function occupanciesOf(views: readonly DeploymentView[]): Map<string, Occupancy> {
  const occupancies = new Map<string, Occupancy>();
  for (const { wanted, replicas } of views) {
    // Those of an earlier version make room for those that come.
    for (const { workerId, version } of replicas)
      if (version === wanted?.version) occupy(occupancies, workerId, wanted.needBytes);
  }
  return occupancies;
}

function occupy(occupancies: Map<string, Occupancy>, workerId: string, needBytes: number): void {
  const known = occupancies.get(workerId);
  if (known === undefined) occupancies.set(workerId, { count: 1, gpuBytes: needBytes });
  else {
    known.count += 1;
    known.gpuBytes += needBytes;
  }
}
