/** The replicas of one deployed model, with all that is remembered of it while the gateway runs. States: views.ts. */

import type { Clock } from "@legacygpu/shared/clock";
import type { ModelRef } from "@legacygpu/shared/protocol/messages";
import type { ModelStateMessage } from "../registry/worker.ts";
import { DemandHistory } from "./demand.ts";
import { LoadFailures } from "./load-failures.ts";
import type { ReplicaState } from "./views.ts";

export interface ColdStart {
  /** From the order to load it until it could take a task. */
  readonly totalMs: number;
  /** As the worker tells; undefined: it does not. */
  readonly transferMs: number | undefined;
  readonly loadMs: number | undefined;
  readonly warmUpMs: number | undefined;
}

export interface Replica {
  readonly ref: ModelRef;
  readonly workerId: string;
  state: ReplicaState;
  /** Wall clock; when it came into this state. */
  sinceMs: number;
  /** Monotonic; when it was told to load it, or found to have it. */
  readonly orderedAtMs: number;
  /** Monotonic; when it could take its first task. */
  readyAtMs: number | undefined;
  /** The connection that knows of it, and when it was last told. */
  sessionId: string;
  toldAtMs: number;
  provider: string | undefined;
  coldStart: ColdStart | undefined;
}

export class Replicas {
  readonly model: string;
  readonly demand = new DemandHistory();
  readonly failures: LoadFailures;
  readonly #clock: Clock;
  readonly #all = new Map<string, Replica>();
  /** As many as were wanted last. */
  target = 0;
  /** Why there are fewer. */
  shortfall: string | undefined;
  lastColdStart: ColdStart | undefined;
  /** Monotonic; when one became ready last. */
  lastReadyAtMs = Number.NEGATIVE_INFINITY;
  /** Whether it was told since the last look that a task waits and nobody has the model loaded. */
  isStarved = false;

  constructor(model: string, clock: Clock) {
    this.model = model;
    this.#clock = clock;
    this.failures = new LoadFailures(clock);
  }

  get all(): Replica[] {
    return [...this.#all.values()];
  }

  get size(): number {
    return this.#all.size;
  }

  of(version: string): Replica[] {
    return this.all.filter(({ ref }) => ref.version === version);
  }

  find(workerId: string, version: string): Replica | undefined {
    return this.#all.get(keyOf(workerId, version));
  }

  add(ref: ModelRef, workerId: string, sessionId: string, state: ReplicaState): Replica {
    const nowMs = this.#clock.monotonic();
    const replica: Replica = {
      ref,
      workerId,
      state,
      sinceMs: this.#clock.now(),
      orderedAtMs: nowMs,
      readyAtMs: state === "loading" ? undefined : nowMs,
      sessionId,
      toldAtMs: nowMs,
      provider: undefined,
      coldStart: undefined,
    };
    this.#all.set(keyOf(workerId, ref.version), replica);
    return replica;
  }

  remove({ workerId, ref }: Replica): void {
    this.#all.delete(keyOf(workerId, ref.version));
  }

  move(replica: Replica, to: ReplicaState): void {
    replica.state = to;
    replica.sinceMs = this.#clock.now();
  }

  /** It takes tasks from now on. */
  becameReady(replica: Replica, { timings }: ModelStateMessage): void {
    const nowMs = this.#clock.monotonic();
    replica.readyAtMs = nowMs;
    replica.coldStart = { totalMs: nowMs - replica.orderedAtMs, ...partsOf(timings) };
    this.lastColdStart = replica.coldStart;
    this.lastReadyAtMs = nowMs;
    this.failures.forgive(replica.workerId, replica.ref.version);
    this.move(replica, "ready");
  }
}

function partsOf(timings: ModelStateMessage["timings"]): Omit<ColdStart, "totalMs"> {
  return { transferMs: timings?.transferMs, loadMs: timings?.loadMs, warmUpMs: timings?.warmUpMs };
}

const keyOf = (workerId: string, version: string): string => `${version} ${workerId}`;
