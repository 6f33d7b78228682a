/**
 * One worker as the gateway knows it: what it is, what it holds, and whether it can take more.
 *
 * | state     | it                                                              | leaves it                                                       |
 * | --------- | --------------------------------------------------------------- | --------------------------------------------------------------- |
 * | HEALTHY   | takes tasks                                                     | faults in a row → DEGRADED; drain → DRAINING; link broken → UNHEALTHY; silence, goodbye → GONE |
 * | DEGRADED  | is spared; later gets one task at a time to prove itself        | a success → HEALTHY; otherwise as HEALTHY                       |
 * | DRAINING  | finishes what it holds, takes nothing                           | link closed, goodbye → GONE                                     |
 * | UNHEALTHY | has no link; what it holds is kept for it                       | back in time → HEALTHY or DEGRADED; otherwise → GONE            |
 * | GONE      | what it held went back to the queue                             | final for this object                                           |
 */

import type { AgentMessage, GatewayMessage, MessageOf, ModelRef } from "@legacygpu/shared/protocol/messages";
import type { WorkerState } from "@legacygpu/shared/task";
import type { Candidate } from "../balancers/strategy.ts";
import { modelKey } from "../tasks/record.ts";
import { Health } from "./health.ts";
import { RttEstimate } from "./rtt.ts";

export type Hello = MessageOf<AgentMessage, "hello">;
export type ModelStateMessage = MessageOf<AgentMessage, "model_state">;

/** The connection as the registry and the scheduler see it. */
export interface WorkerLink {
  readonly sessionId: string;
  readonly keyId: string;
  /** False while the window is full: nothing is lost, but nothing more should be added. */
  readonly canSend: boolean;
  send(message: GatewayMessage): void;
  /** Tells the agent of a model, once per connection. */
  announce(model: ModelRef): void;
}

/** More than this in one worker's hands would be lost work when it dies. */
const MAX_CREDIT = 256;
/** A task is never thought to be shorter: below it the overhead around a task dominates. */
const MIN_SERVICE_MS = 0.05;
const SERVICE_GAIN = 0.1;
/** How long a worker that could not load a model is not asked again. */
const MODEL_FAILURE_MS = 30_000;

export class Worker implements Candidate {
  readonly id: string;
  readonly hello: Hello;
  readonly connectedAtMs: number;
  readonly rtt = new RttEstimate();
  readonly health = new Health();
  readonly models = new Map<string, ModelStateMessage>();
  /** Tokens of the attempts that it holds. */
  readonly tokens = new Set<number>();
  readonly #modelFailedAtMs = new Map<string, number>();
  link: WorkerLink | undefined;
  state: WorkerState = "HEALTHY";
  /** Why it is in this state. */
  cause = "connected";
  /** Monotonic; when its link broke. */
  linkLostAtMs = 0;
  completed = 0;
  failed = 0;
  #serviceMs: number | undefined;

  constructor(hello: Hello, link: WorkerLink, connectedAtMs: number) {
    this.id = hello.workerId;
    this.hello = hello;
    this.link = link;
    this.connectedAtMs = connectedAtMs;
  }

  get slots(): number {
    return this.hello.slots;
  }

  get inFlight(): number {
    return this.tokens.size;
  }

  /**
   * How many attempts it may hold: its slots, plus enough on the way that no slot idles for a round trip.
   *
   * `1.5 × slots × RTT / service time`, since answers come unevenly; the extra millisecond and the extra two cover what neither ping nor
   * service time sees.
   */
  get credit(): number {
    const rttMs = this.rtt.smoothedMs;
    if (rttMs === undefined || this.#serviceMs === undefined) return this.slots + 2;
    const serviceMs = Math.max(this.#serviceMs, MIN_SERVICE_MS);
    return Math.min(MAX_CREDIT, this.slots + Math.ceil((1.5 * this.slots * (rttMs + 1)) / serviceMs) + 2);
  }

  /** Whether it has room for an attempt now. One that is being spared has room for one. */
  get isOpen(): boolean {
    if (this.state !== "HEALTHY" && this.state !== "DEGRADED") return false;
    const room = this.state === "HEALTHY" ? this.credit : 1;
    return this.inFlight < room && this.link?.canSend === true;
  }

  /** @param nowMs monotonic */
  isProbeDue(nowMs: number): boolean {
    return this.state === "DEGRADED" && this.health.isProbeDue(nowMs);
  }

  /** That a model may take: of its largest card, or of the machine when it computes on the CPU. */
  get memoryBytes(): number {
    const { hardware, providers } = this.hello;
    if (providers[0] === "cpu") return hardware.memoryBytes;
    return Math.max(0, ...hardware.gpus.map(({ vramBytes = 0 }) => vramBytes)) || hardware.memoryBytes;
  }

  canRun(model: { name: string; version: string }, nowMs: number): boolean {
    const failedAtMs = this.#modelFailedAtMs.get(modelKey(model));
    return failedAtMs === undefined || nowMs - failedAtMs > MODEL_FAILURE_MS;
  }

  modelFailed(model: { name: string; version: string }, nowMs: number): void {
    this.#modelFailedAtMs.set(modelKey(model), nowMs);
  }

  /** Learns from a finished task how long its slot was taken. */
  served(serviceMs: number): void {
    this.#serviceMs =
      this.#serviceMs === undefined
        ? serviceMs
        : this.#serviceMs + SERVICE_GAIN * (serviceMs - this.#serviceMs);
  }
}
