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

import type { Requirements } from "@legacygpu/shared/manifest";
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
  /** Tells the agent of a model, once per connection, and again when it is to fetch and load the model at once. */
  announce(model: ModelRef, how?: "preload"): void;
}

/** More than this in one worker's hands, attempts or runs, would be lost work when it dies. */
const MAX_CREDIT = 256;
/** A task is never thought to be shorter: below it the overhead around a task dominates. */
const MIN_SERVICE_MS = 0.05;
const SERVICE_GAIN = 0.1;
/** How fast a smaller batch than usual makes the usual one smaller; a larger one counts at once. */
const BATCH_DECAY = 0.05;
/** What is run alone nearly always is not counted as batched. */
const MIN_BATCH = 1.05;
/** How long a worker that could not load a model is not asked again. */
const MODEL_FAILURE_MS = 30_000;

const MIB = 1024 * 1024;

/** What the manifest of a model asks of a worker; undefined when it asks nothing, or there is no such model. */
export type NeedsOf = (model: { name: string; version: string }) => Requirements | undefined;

export class Worker implements Candidate {
  readonly id: string;
  readonly hello: Hello;
  readonly connectedAtMs: number;
  readonly rtt = new RttEstimate();
  readonly health = new Health();
  readonly models = new Map<string, ModelStateMessage>();
  /** Tokens of the attempts that it holds. */
  readonly tokens = new Set<number>();
  /** Until when it is not asked again. */
  readonly #modelFailedUntilMs = new Map<string, number>();
  readonly #needsOf: NeedsOf;
  link: WorkerLink | undefined;
  state: WorkerState = "HEALTHY";
  /** Why it is in this state. */
  cause = "connected";
  /** Monotonic; when its link broke. */
  linkLostAtMs = 0;
  completed = 0;
  failed = 0;
  #serviceMs: number | undefined;
  /** How many tasks of a model it runs as one, usually; absent: 1. */
  readonly #batchSizes = new Map<string, number>();
  #load = 0;

  constructor(hello: Hello, link: WorkerLink, connectedAtMs: number, needsOf: NeedsOf = () => undefined) {
    this.#needsOf = needsOf;
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
   * What it holds in runs: attempts that it runs as one share a run. So a model that it batches has more attempts there, enough for the next batch,
   * and takes no more of its time from the others.
   */
  get load(): number {
    return this.#load;
  }

  /**
   * How many runs it may hold: its slots, plus enough on the way that no slot idles for a round trip.
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
    if (this.link?.canSend !== true) return false;
    return this.state === "HEALTHY"
      ? this.#load < this.credit && this.inFlight < MAX_CREDIT
      : this.inFlight === 0;
  }

  /** It has the attempt from now on. @returns what that adds to {@link load}. */
  hold(token: number, model: { name: string; version: string }): number {
    const batchSize = this.#batchSizes.size === 0 ? undefined : this.#batchSizes.get(modelKey(model));
    const share = 1 / (batchSize ?? 1);
    this.tokens.add(token);
    this.#load += share;
    return share;
  }

  /** @param share as {@link hold} returned it. */
  release(token: number, share: number): void {
    this.tokens.delete(token);
    // Thirds do not add up to a whole exactly.
    this.#load = this.tokens.size === 0 ? 0 : this.#load - share;
  }

  /**
   * Learns how many tasks of a model it runs as one. From what it does, not from what the manifest allows: tasks may not fit together,
   * and an older agent joins none.
   */
  ranAsOne(model: { name: string; version: string }, batchSize: number): void {
    if (batchSize === 1 && this.#batchSizes.size === 0) return;
    const key = modelKey(model);
    const usual = this.#batchSizes.get(key) ?? 1;
    const next = batchSize >= usual ? batchSize : usual + BATCH_DECAY * (batchSize - usual);
    if (next < MIN_BATCH) this.#batchSizes.delete(key);
    else this.#batchSizes.set(key, next);
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
    const untilMs = this.#modelFailedUntilMs.get(modelKey(model));
    if (untilMs !== undefined && nowMs <= untilMs) return false;
    const needs = this.#needsOf(model);
    return needs === undefined || this.#meets(needs);
  }

  /** @param forMs how long it wants not to be asked; what it said before may be longer. */
  modelFailed(model: { name: string; version: string }, nowMs: number, forMs = MODEL_FAILURE_MS): void {
    const key = modelKey(model);
    this.#modelFailedUntilMs.set(key, Math.max(this.#modelFailedUntilMs.get(key) ?? 0, nowMs + forMs));
  }

  /** What the agent tells of a model. */
  heard(message: ModelStateMessage, nowMs: number): void {
    this.models.set(modelKey(message), message);
    const { state, retryAfterMs } = message;
    if (state === "failed" && retryAfterMs !== undefined) this.modelFailed(message, nowMs, retryAfterMs);
    if (state === "ready" || state === "unloaded") this.#modelFailedUntilMs.delete(modelKey(message));
  }

  #meets({ providers, min_vram_mb: leastVramMib = 0 }: Requirements): boolean {
    const { hardware, providers: own } = this.hello;
    if (providers !== undefined && !providers.some((provider) => own.includes(provider))) return false;
    return leastVramMib === 0 || hardware.gpus.some(({ vramBytes = 0 }) => vramBytes >= leastVramMib * MIB);
  }

  /** Learns from a finished task how long its slot was taken. */
  served(serviceMs: number): void {
    this.#serviceMs =
      this.#serviceMs === undefined
        ? serviceMs
        : this.#serviceMs + SERVICE_GAIN * (serviceMs - this.#serviceMs);
  }
}
