/**
 * The model repository extension: which workers have a model loaded, and having it loaded or dropped before anybody asks for an inference.
 *
 * Nothing is kept here: what is told comes from what the connected workers have said of themselves, and a load goes on when nobody waits
 * for it any more.
 */

import { type Clock, sleep } from "@legacygpu/shared/clock";
import type { Model } from "../models/catalogue.ts";
import type { Registry } from "../registry/registry.ts";
import type { ModelStateMessage, Worker } from "../registry/worker.ts";
import { isAble } from "../scheduler/able.ts";
import { modelKey } from "../tasks/record.ts";

const POLL_MS = 50;
/** A worker that failed before says so again before it tries again: only a failure that lasts is one. */
const FAILURE_MS = 1500;

export interface ModelStatus {
  readonly state: "READY" | "LOADING" | "UNAVAILABLE";
  readonly reason?: string;
}

export type LoadOutcome =
  | { readonly kind: "ready" }
  | { readonly kind: "loading"; readonly progress: string }
  | { readonly kind: "failed"; readonly reason: string }
  /** No connected worker could run it. */
  | { readonly kind: "nowhere" };

export interface ModelRepositoryParts {
  readonly registry: Registry;
  readonly clock: Clock;
  /** Chooses the workers of models that are deployed. Default: none is. */
  readonly placement?: { wake(model: { name: string; version: string }): boolean } | undefined;
}

export class ModelRepository {
  readonly #parts: ModelRepositoryParts;
  /** Monotonic; when somebody last asked for it to be loaded. For the rate of its progress. */
  readonly #loadBeganAtMs = new Map<string, number>();

  constructor(parts: ModelRepositoryParts) {
    this.#parts = parts;
  }

  isReady(model: Model): boolean {
    return this.#reports(model).some(({ state }) => state === "ready");
  }

  /** @returns undefined when no worker has anything to say of it: it was never loaded. */
  statusOf(model: Model): ModelStatus | undefined {
    const reports = this.#reports(model);
    if (reports.length === 0) return undefined;
    if (reports.some(({ state }) => state === "ready")) return { state: "READY" };
    if (reports.some(isUnderWay)) return { state: "LOADING", reason: this.#progress(model, reports) };
    const failed = reports.find(({ state }) => state === "failed");
    if (failed !== undefined) return { state: "UNAVAILABLE", reason: failed.reason ?? "it cannot be loaded" };
    const isUnloaded = reports.some(({ state }) => state === "unloaded");
    return {
      state: "UNAVAILABLE",
      reason: isUnloaded ? "unloaded" : "not loaded; its file is on a worker's disk",
    };
  }

  /**
   * Has every worker that could run it fetch and load it, and waits until the first has done so.
   *
   * @param sites whose workers; absent: all
   * @param signal ends the wait, not the load
   */
  async load(
    model: Model,
    {
      maxWaitMs,
      sites,
      signal,
    }: { maxWaitMs: number; sites?: ReadonlySet<string> | undefined; signal: AbortSignal },
  ): Promise<LoadOutcome> {
    const { clock } = this.#parts;
    const workers = this.#suitable(model, sites);
    if (workers.length === 0) return { kind: "nowhere" };
    const beganAtMs = clock.monotonic();
    this.#loadBeganAtMs.set(modelKey(model.ref), beganAtMs);
    const isDeployed = this.#parts.placement?.wake(model.ref) === true;
    if (!isDeployed) for (const { link } of workers) link?.announce(model.ref, "preload");
    let failingSinceMs: number | undefined;
    for (;;) {
      const reports = reportsOf(model, workers);
      if (reports.some(({ state }) => state === "ready")) return { kind: "ready" };
      const nowMs = clock.monotonic();
      const failure = reports.find(({ state }) => state === "failed");
      const hasFailed = failure !== undefined && reports.every(({ state }) => state === "failed");
      failingSinceMs = hasFailed ? (failingSinceMs ?? nowMs) : undefined;
      if (failingSinceMs !== undefined && nowMs - failingSinceMs >= FAILURE_MS)
        return { kind: "failed", reason: failure?.reason ?? "" };
      if (signal.aborted || nowMs - beganAtMs >= maxWaitMs)
        return { kind: "loading", progress: this.#progress(model, reports) };
      await sleep(clock, POLL_MS, signal);
    }
  }

  /** Tells every worker that may have it to forget it; what runs goes on. */
  unload({ ref: { name, version } }: Model): void {
    const key = modelKey({ name, version });
    const { registry } = this.#parts;
    for (const worker of registry.all) {
      if (!worker.models.has(key)) continue;
      worker.link?.send({ type: "unload_model", name, version });
      // It will say so itself; until then nobody is to take it for loaded.
      registry.modelState(worker, { type: "model_state", name, version, state: "unloaded" });
    }
  }

  #suitable({ ref, manifest }: Model, sites: ReadonlySet<string> | undefined): Worker[] {
    const { registry, clock } = this.#parts;
    const { providers, min_vram_mb: minVramMb } = manifest.requirements ?? {};
    const placement = {
      providers,
      minVramBytes: minVramMb === undefined ? undefined : minVramMb * 1024 ** 2,
      sites: sites === undefined ? undefined : [...sites],
    };
    return [...registry.all].filter(
      (worker) => worker.link !== undefined && isAble(worker, { model: ref, placement }, clock.now()),
    );
  }

  #reports(model: Model): ModelStateMessage[] {
    return reportsOf(model, this.#parts.registry.all);
  }

  /** For instance `loading on 2 of 5 workers (41 %, about 11 min)`. */
  #progress({ ref }: Model, reports: readonly ModelStateMessage[]): string {
    const { clock, registry } = this.#parts;
    const busy = reports.filter(isUnderWay);
    const best = busy.reduce((most, { receivedBytes = 0 }) => Math.max(most, receivedBytes), 0);
    const isDownloading = busy.length > 0 && busy.every(({ state }) => state === "downloading");
    const where = `loading on ${busy.length} of ${registry.size} workers`;
    if (!isDownloading || ref.fileBytes === 0) return where;
    const percent = Math.floor((100 * best) / ref.fileBytes);
    const beganAtMs = this.#loadBeganAtMs.get(modelKey(ref));
    if (beganAtMs === undefined || best === 0) return `${where} (${percent} %)`;
    const leftMs = ((clock.monotonic() - beganAtMs) * (ref.fileBytes - best)) / best;
    return `${where} (${percent} %, about ${durationText(leftMs)})`;
  }
}

/** What the connected of these workers have said of the model. */
function reportsOf({ ref }: Model, workers: Iterable<Worker>): ModelStateMessage[] {
  const key = modelKey(ref);
  const reports: ModelStateMessage[] = [];
  for (const { link, models } of workers) {
    const report = link === undefined ? undefined : models.get(key);
    if (report !== undefined) reports.push(report);
  }
  return reports;
}

function isUnderWay({ state }: ModelStateMessage): boolean {
  return state === "downloading" || state === "loading";
}

function durationText(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  return seconds < 90 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`;
}
