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
import { vramBytesOf } from "../balancers/known-cards.ts";
import { modelKey } from "../tasks/record.ts";
import { BlobProgress } from "./blob-progress.ts";
import type { RttEstimate } from "./rtt.ts";
import { ServiceTimes } from "./service-times.ts";
import type { WorkerPath } from "./worker-path.ts";

export type Hello = MessageOf<AgentMessage, "hello">;
export type ModelStateMessage = MessageOf<AgentMessage, "model_state">;

/** The connection as the registry and the scheduler see it. */
export interface WorkerLink {
  readonly sessionId: string;
  readonly keyId: string;
  /** False while the window is full: nothing is lost, but nothing more should be added. */
  readonly canSend: boolean;
  /** Sent, and not known to have arrived. */
  readonly unacknowledgedBytes?: number;
  send(message: GatewayMessage): void;
  /** Tells the agent of a model, once per connection, and again when it is to fetch and load the model at once. */
  announce(model: ModelRef, how?: "preload"): void;
}

/** How long a worker that could not load a model is not asked again. */
const MODEL_FAILURE_MS = 30_000;

/** A name with a version is cheap to invent. */
const MAX_MODELS = 1000;

const MIB = 1024 * 1024;

/** What the manifest of a model asks of a worker; undefined when it asks nothing, or there is no such model. */
export type NeedsOf = (model: { name: string; version: string }) => Requirements | undefined;

/** What an agent said last of itself. */
export interface ReportedLoad {
  readonly running: number;
  readonly queued: number;
  /** Of all cores, 0 to 100. */
  readonly cpuPercent: number;
  readonly rssBytes: number;
  /** Monotonic. */
  readonly atMs: number;
}

export class Worker {
  readonly id: string;
  readonly hello: Hello;
  readonly connectedAtMs: number;
  readonly path: WorkerPath;
  readonly serviceTimes = new ServiceTimes();
  readonly blobProgress: BlobProgress;
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
  /** Monotonic; when the link that it has, or had last, was opened. */
  linkedAtMs = 0;
  reported: ReportedLoad | undefined;
  /** Monotonic; until when it is spared because tasks fail on it. Undefined: it is trusted. */
  sparedUntilMs: number | undefined;
  completed = 0;
  failed = 0;

  constructor(
    hello: Hello,
    link: WorkerLink,
    connectedAtMs: number,
    path: WorkerPath,
    needsOf: NeedsOf = () => undefined,
  ) {
    this.#needsOf = needsOf;
    this.path = path;
    this.blobProgress = new BlobProgress(path);
    this.id = hello.workerId;
    this.hello = hello;
    this.link = link;
    this.connectedAtMs = connectedAtMs;
  }

  /** From its pings. */
  get rtt(): RttEstimate {
    return this.path.pings;
  }

  get slots(): number {
    return this.hello.slots;
  }

  get inFlight(): number {
    return this.tokens.size;
  }

  /** Models that it is not asked for, with the wall-clock time until which. */
  get refusals(): ReadonlyMap<string, number> {
    return this.#modelFailedUntilMs;
  }

  /** That a model may take: of its largest card, or of the machine when it computes on the CPU. */
  get memoryBytes(): number {
    const { hardware, providers } = this.hello;
    if (providers[0] === "cpu") return hardware.memoryBytes;
    return Math.max(0, ...hardware.gpus.map((gpu) => vramBytesOf(gpu) ?? 0)) || hardware.memoryBytes;
  }

  canRun(model: { name: string; version: string }, nowMs: number): boolean {
    const untilMs = this.#modelFailedUntilMs.get(modelKey(model));
    if (untilMs !== undefined && nowMs <= untilMs) return false;
    return this.suits(model);
  }

  /** Whether it has what the model's manifest asks for. */
  suits(model: { name: string; version: string }): boolean {
    const needs = this.#needsOf(model);
    return needs === undefined || this.#meets(needs);
  }

  /** @param forMs how long it wants not to be asked; what it said before may be longer. */
  modelFailed(model: { name: string; version: string }, nowMs: number, forMs = MODEL_FAILURE_MS): void {
    for (const [key, untilMs] of this.#modelFailedUntilMs)
      if (untilMs < nowMs) this.#modelFailedUntilMs.delete(key);
    const key = modelKey(model);
    const knownMs = this.#modelFailedUntilMs.get(key) ?? 0;
    if (knownMs === 0 && this.#modelFailedUntilMs.size >= MAX_MODELS) return;
    this.#modelFailedUntilMs.set(key, Math.max(knownMs, nowMs + forMs));
  }

  /** What the agent tells of a model. */
  heard(message: ModelStateMessage, nowMs: number): void {
    const key = modelKey(message);
    if (!this.models.has(key) && this.models.size >= MAX_MODELS) this.#forgetModel();
    this.models.set(key, message);
    const { state, retryAfterMs } = message;
    if (state === "failed" && retryAfterMs !== undefined) this.modelFailed(message, nowMs, retryAfterMs);
    if (state === "ready" || state === "unloaded") this.#modelFailedUntilMs.delete(key);
  }

  /** One that is not in its memory, if there is any. */
  #forgetModel(): void {
    const [first] = this.models.keys();
    const idle = [...this.models].find(([, { state }]) => state !== "ready");
    const key = idle?.[0] ?? first;
    if (key !== undefined) this.models.delete(key);
  }

  #meets({ providers, min_vram_mb: leastVramMib = 0 }: Requirements): boolean {
    const { hardware, providers: own } = this.hello;
    if (providers !== undefined && !providers.some((provider) => own.includes(provider))) return false;
    return leastVramMib === 0 || hardware.gpus.some((gpu) => (vramBytesOf(gpu) ?? 0) >= leastVramMib * MIB);
  }

  /** Learns from a finished task how long its slot was taken. */
  served(model: { name: string; version: string }, serviceMs: number): void {
    this.serviceTimes.served(modelKey(model), serviceMs);
  }
}
