/** All workers that are connected, or whose work is still kept for them. */

import type { Clock, Timer } from "@legacygpu/shared/clock";
import type { WireError } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import type { WorkerState } from "@legacygpu/shared/task";
import { type Hello, type NeedsOf, Worker, type WorkerLink } from "./worker.ts";

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

export class Registry {
  readonly #options: RegistryOptions;
  readonly #workers = new Map<string, Worker>();
  readonly #graceTimers = new Map<Worker, Timer>();

  constructor(options: RegistryOptions) {
    this.#options = options;
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

  arrive(hello: Hello, link: WorkerLink): Arrival {
    const known = this.#workers.get(hello.workerId);
    if (known !== undefined && known.hello.instanceId === hello.instanceId)
      return this.#takeBack(known, link);
    if (known?.link !== undefined) return { kind: "taken" };
    // The process that held this id has ended: nothing of it will come back.
    if (known !== undefined) this.giveUp(known, "the agent was started anew");
    const worker = new Worker(hello, link, this.#options.clock.now(), this.#options.needsOf);
    this.#workers.set(worker.id, worker);
    this.#options.log.info({ workerId: worker.id, site: hello.site, slots: hello.slots }, "worker connected");
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

  /** A worker answered a task as it should. */
  noteSuccess(worker: Worker): void {
    if (worker.health.success() && worker.state === "DEGRADED")
      this.#setState(worker, "HEALTHY", "it has answered a task again");
  }

  noteFailure(worker: Worker, error: WireError): void {
    const ejectedMs = worker.health.failure(error, this.#options.clock.monotonic());
    if (ejectedMs === undefined || (worker.state !== "HEALTHY" && worker.state !== "DEGRADED")) return;
    this.#setState(
      worker,
      "DEGRADED",
      `tasks failed on it, it is tried again after ${ejectedMs / 1000} s; the last: ${error.message}`,
    );
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
    this.#setState(worker, worker.health.isTrusted ? "HEALTHY" : "DEGRADED", "reconnected");
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
  }
}
