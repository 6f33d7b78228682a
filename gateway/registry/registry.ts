/** All workers that are connected, or whose work is still kept for them. */

import type { Clock, Timer } from "@legacygpu/shared/clock";
import type { Logger } from "@legacygpu/shared/log";
import type { WorkerState } from "@legacygpu/shared/task";
import { modelKey } from "../tasks/record.ts";
import { type Answer, learnFromAnswer } from "./answer.ts";
import { Sites } from "./sites.ts";
import { type Hello, type ModelStateMessage, type NeedsOf, Worker, type WorkerLink } from "./worker.ts";
import { WorkerPath } from "./worker-path.ts";

export interface RegistryOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** How long the work of a worker whose link broke is kept for it. */
  readonly reconnectGraceMs: number;
  /** The same when every link of its site broke: then it is the site's line, and its workers go on computing. */
  readonly leaseMs: number;
  /** Default: no model needs anything. */
  readonly needsOf?: NeedsOf | undefined;
  /** Called when a worker is given up, with the tokens that it held. */
  readonly onGone: (worker: Worker, tokens: readonly number[]) => void;
}

export type Arrival =
  | { readonly kind: "new"; readonly worker: Worker }
  /** The same agent after a broken link. */
  | { readonly kind: "back"; readonly worker: Worker }
  /** Another live agent has this id. */
  | { readonly kind: "taken" };

/** Who wants to know of workers. */
export interface WorkerWatcher {
  arrived(worker: Worker): void;
  /** Its state, and perhaps its link. */
  stateChanged(worker: Worker): void;
  /** Which models it has in memory, or takes. */
  modelsChanged(worker: Worker): void;
}

export class Registry {
  readonly #options: RegistryOptions;
  readonly #workers = new Map<string, Worker>();
  readonly #graceTimers = new Map<Worker, Timer>();
  readonly #watchers: WorkerWatcher[] = [];
  /** Those of its workers, and of workers that were here lately. */
  readonly sites: Sites;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.sites = new Sites(options.clock);
  }

  get all(): Iterable<Worker> {
    return this.#workers.values();
  }

  get size(): number {
    return this.#workers.size;
  }

  get(id: string): Worker | undefined {
    return this.#workers.get(id);
  }

  count(state: WorkerState): number {
    let count = 0;
    for (const worker of this.#workers.values()) if (worker.state === state) count += 1;
    return count;
  }

  /** What the manifest of a model asks of a worker. */
  needsOf(model: Parameters<NeedsOf>[0]): ReturnType<NeedsOf> {
    return this.#options.needsOf?.(model);
  }

  arrive(hello: Hello, link: WorkerLink): Arrival {
    const known = this.#workers.get(hello.workerId);
    if (known !== undefined && known.hello.instanceId === hello.instanceId)
      return this.#takeBack(known, link);
    if (known?.link !== undefined) return { kind: "taken" };
    // The process that held this id has ended: nothing of it will come back.
    if (known !== undefined) this.giveUp(known, "the agent was started anew");
    const { clock, needsOf } = this.#options;
    const path = new WorkerPath(this.sites.enter(hello.site), clock);
    const worker = new Worker(hello, link, clock.now(), path, needsOf);
    worker.linkedAtMs = clock.monotonic();
    this.#workers.set(worker.id, worker);
    this.#options.log.info({ workerId: worker.id, site: hello.site, slots: hello.slots }, "worker connected");
    for (const watcher of this.#watchers) watcher.arrived(worker);
    return { kind: "new", worker };
  }

  /** The link broke without a goodbye: the worker may still be computing. */
  linkLost(worker: Worker, cause: string): void {
    const { clock, reconnectGraceMs } = this.#options;
    worker.link = undefined;
    worker.linkLostAtMs = clock.monotonic();
    this.#setState(worker, "UNHEALTHY", cause);
    this.#graceTimers.set(
      worker,
      clock.after(reconnectGraceMs, () => this.#graceOver(worker, cause)),
    );
  }

  /** What the answer to a task tells of the worker's speed and of the way to it. */
  noteAnswer(worker: Worker, answer: Answer): void {
    worker.path.site.completed += 1;
    learnFromAnswer(worker, answer, this.#options.clock.monotonic());
  }

  /** A sign of life. */
  noteHeard(worker: Worker): void {
    worker.path.site.lastSeenAtMs = this.#options.clock.now();
  }

  /** What an agent tells of a model. */
  modelState(worker: Worker, message: ModelStateMessage): void {
    const before = worker.models.get(modelKey(message))?.state;
    worker.heard(message, this.#options.clock.now());
    // That a download has come further changes nothing for anybody.
    if (before === message.state && (before === "downloading" || before === "loading")) return;
    for (const watcher of this.#watchers) watcher.modelsChanged(worker);
  }

  /** It could not load the model: for a while it is not asked again. */
  modelFailed(worker: Worker, model: { readonly name: string; readonly version: string }): void {
    worker.modelFailed(model, this.#options.clock.now());
    for (const watcher of this.#watchers) watcher.modelsChanged(worker);
  }

  /** Tasks fail on the worker: it is spared for so long. */
  spare(worker: Worker, forMs: number, lastError: string): void {
    worker.sparedUntilMs = this.#options.clock.monotonic() + forMs;
    if (worker.state !== "HEALTHY" && worker.state !== "DEGRADED") return;
    const seconds = (forMs / 1000).toFixed(1);
    this.#setState(
      worker,
      "DEGRADED",
      `tasks failed on it, it is tried again after ${seconds} s; the last: ${lastError}`,
    );
  }

  /** It has answered as it should again. */
  trust(worker: Worker): void {
    worker.sparedUntilMs = undefined;
    if (worker.state === "DEGRADED") this.#setState(worker, "HEALTHY", "it has answered tasks again");
  }

  /** Has it told of every worker, and of what changes about it, from now on. */
  watch(watcher: WorkerWatcher): void {
    this.#watchers.push(watcher);
  }

  drain(worker: Worker, cause: string): void {
    if (worker.state === "HEALTHY" || worker.state === "DEGRADED") this.#setState(worker, "DRAINING", cause);
  }

  /** Forgets the worker; what it held goes back to the queue. Idempotent. */
  giveUp(worker: Worker, cause: string): void {
    this.#stopGrace(worker);
    if (worker.state === "GONE") return;
    worker.link = undefined;
    this.#setState(worker, "GONE", cause);
    if (this.#workers.get(worker.id) === worker) this.#workers.delete(worker.id);
    this.sites.leave(worker.path.site);
    const tokens = [...worker.tokens];
    worker.tokens.clear();
    this.#options.onGone(worker, tokens);
  }

  close(): void {
    for (const timer of this.#graceTimers.values()) timer.cancel();
    this.#graceTimers.clear();
  }

  #takeBack(worker: Worker, link: WorkerLink): Arrival {
    this.#stopGrace(worker);
    worker.link = link;
    worker.linkedAtMs = this.#options.clock.monotonic();
    this.#setState(worker, worker.sparedUntilMs === undefined ? "HEALTHY" : "DEGRADED", "reconnected");
    return { kind: "back", worker };
  }

  #graceOver(worker: Worker, cause: string): void {
    const { clock, leaseMs } = this.#options;
    const leftMs = worker.linkLostAtMs + leaseMs - clock.monotonic();
    if (leftMs <= 0 || !this.#isSiteCutOff(worker.hello.site)) {
      this.giveUp(worker, cause);
      return;
    }
    this.#setState(worker, "UNHEALTHY", `the links of the whole site broke: ${cause}`);
    this.#graceTimers.set(
      worker,
      clock.after(leftMs, () => this.giveUp(worker, cause)),
    );
  }

  /** Several workers of the site, and none of them has a link. One alone that is away has rather died. */
  #isSiteCutOff(site: string): boolean {
    let away = 0;
    for (const worker of this.#workers.values()) {
      if (worker.hello.site !== site) continue;
      if (worker.link !== undefined) return false;
      away += 1;
    }
    return away > 1;
  }

  #stopGrace(worker: Worker): void {
    this.#graceTimers.get(worker)?.cancel();
    this.#graceTimers.delete(worker);
  }

  #setState(worker: Worker, to: WorkerState, cause: string): void {
    this.#options.log.info({ workerId: worker.id, from: worker.state, to, cause }, "worker changed state");
    worker.state = to;
    worker.cause = cause;
    for (const watcher of this.#watchers) watcher.stateChanged(worker);
  }
}
