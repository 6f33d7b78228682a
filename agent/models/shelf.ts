/**
 * The models that the gateway has announced, and how far each is: announced → fetching → local, or failed for a while.
 *
 * Announcements last as long as the connection; files and loaded models outlast it.
 */

import { readFile } from "node:fs/promises";
import type { Clock } from "@legacygpu/shared/clock";
import { asLegacyGpuError, fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import { type Digest, type Manifest, manifestSchema } from "@legacygpu/shared/manifest";
import type { AgentMessage, LoadTimings, MessageOf, ModelRef } from "@legacygpu/shared/protocol/messages";
import type { LocalModel, ModelEvent } from "../runner/job.ts";
import type { BlobCache } from "./blob-cache.ts";
import { DownloadProgress } from "./download-progress.ts";
import type { ModelIndex } from "./model-index.ts";

type ModelState = MessageOf<AgentMessage, "model_state">;

export interface ShelfPorts {
  readonly blobs: BlobCache;
  readonly index: ModelIndex;
  readonly clock: Clock;
  readonly log: Logger;
  readonly runner: { preload(model: LocalModel): void; unload(modelKey: string): void };
  send(message: ModelState): void;
}

type Progress =
  | { readonly state: "announced" }
  | { readonly state: "fetching"; readonly model: Promise<LocalModel> }
  | {
      readonly state: "local";
      readonly model: LocalModel;
      readonly provider: string | undefined;
      /** Why better providers were passed over. */
      readonly reason?: string | undefined;
      readonly timings?: LoadTimings | undefined;
    }
  | { readonly state: "failed"; readonly error: LegacyGpuError; readonly until: number };

interface Entry {
  readonly ref: ModelRef;
  progress: Progress;
  /** Monotonic. */
  usedAtMs: number;
  /** How long its files took to come, the last time. */
  transferMs: number | undefined;
}

/** For so long after a task has asked for a model its files stay, though no runner has loaded them. */
const KEPT_AFTER_USE_MS = 10 * 60_000;
/** The record of uses need not be more exact. */
const USE_NOTED_MS = 1000;
/** On the wire. */
const MAX_REASON = 2000;
const MAX_MANIFEST_BYTES = 16 * 1024 * 1024;
/** A model that failed is not tried again for every task that asks for it. */
const FAILURE_MEMORY_MS = 10_000;

export class ModelShelf {
  readonly #ports: ShelfPorts;
  readonly #announced = new Map<string, Entry>();
  /** By contents; what an earlier connection fetched or loaded. */
  readonly #entries = new Map<string, Entry>();

  constructor(ports: ShelfPorts) {
    this.#ports = ports;
  }

  /** Forgets the announcements of the last connection. */
  onNewConnection(): void {
    this.#announced.clear();
  }

  announce(ref: ModelRef, preload: boolean): void {
    const key = contentKey(ref);
    const entry = this.#entries.get(key) ?? newEntry(ref);
    this.#entries.set(key, entry);
    this.#announced.set(nameKey(ref.name, ref.version), entry);
    this.#tellState(entry);
    if (preload) void this.#preload(entry);
  }

  unload(name: string, version: string): void {
    const entry = this.#announced.get(nameKey(name, version));
    this.#announced.delete(nameKey(name, version));
    if (entry === undefined) return;
    this.#entries.delete(contentKey(entry.ref));
    this.#ports.runner.unload(contentKey(entry.ref));
    this.#tell(entry, { state: "unloaded" });
  }

  /** @throws `model_not_announced`, `model_load_failed`, `out_of_memory`, `disk_full`. */
  acquire(name: string, version: string): LocalModel | Promise<LocalModel> {
    const entry = this.#announced.get(nameKey(name, version));
    if (entry === undefined)
      throw fail("model_not_announced", `Nobody announced ${name}:${version} to this worker.`);
    const { progress } = entry;
    this.#noteUse(entry);
    if (progress.state === "local" || progress.state === "fetching") return progress.model;
    if (progress.state === "failed" && this.#ports.clock.monotonic() < progress.until) throw progress.error;
    const model = this.#fetch(entry);
    entry.progress = { state: "fetching", model };
    // Whoever acquired it sees the failure; nobody may have.
    model.catch(() => {});
    return model;
  }

  /** What the runner says about a model that it loads. */
  onRunner(event: ModelEvent): void {
    const entry = this.#entries.get(event.model.key);
    if (entry === undefined) return;
    switch (event.state) {
      case "loading":
        this.#tell(entry, { state: "loading" });
        return;
      case "ready":
        this.#ready(entry, event);
        return;
      case "unloaded":
        if (entry.progress.state !== "local") return;
        entry.progress = { state: "local", model: event.model, provider: undefined };
        // The next load has nothing to fetch.
        entry.transferMs = 0;
        this.#tell(entry, { state: "cached" });
        return;
      case "failed":
        this.#fail(entry, event.error, event.retryAfterMs);
        return;
    }
  }

  /** Whether a file in the cache is being fetched, loaded in a runner, or about to be. */
  isInUse(digest: Digest): boolean {
    const nowMs = this.#ports.clock.monotonic();
    for (const { ref, progress, usedAtMs } of this.#entries.values()) {
      if (ref.file !== digest && ref.manifest !== digest) continue;
      if (progress.state === "fetching") return true;
      if (progress.state !== "local") continue;
      if (progress.provider !== undefined || nowMs - usedAtMs < KEPT_AFTER_USE_MS) return true;
    }
    return false;
  }

  /** A file has left the cache: its models are fetched again when they are wanted again. */
  onEvicted(digest: Digest): void {
    this.#ports.index.forget(digest);
    for (const entry of this.#entries.values()) {
      if (entry.ref.file !== digest || entry.progress.state !== "local") continue;
      entry.progress = { state: "announced" };
      this.#tell(entry, { state: "unloaded" });
    }
  }

  /** Names of the models that are loaded or on the disk. */
  names(): string[] {
    return [...this.#entries.values()].map(
      ({ ref, progress }) => `${ref.name}:${ref.version} ${progress.state}`,
    );
  }

  #noteUse(entry: Entry): void {
    const nowMs = this.#ports.clock.monotonic();
    if (nowMs - entry.usedAtMs < USE_NOTED_MS) return;
    entry.usedAtMs = nowMs;
    this.#ports.blobs.used(entry.ref.file, ".onnx");
    this.#ports.blobs.used(entry.ref.manifest, ".json");
  }

  async #preload(entry: Entry): Promise<void> {
    try {
      this.#ports.runner.preload(await this.acquire(entry.ref.name, entry.ref.version));
    } catch (error) {
      this.#ports.log.warn({ err: error, model: entry.ref.name }, "a model could not be made ready");
    }
  }

  async #fetch(entry: Entry): Promise<LocalModel> {
    const { ref } = entry;
    const { blobs, index, clock } = this.#ports;
    const beganAtMs = clock.monotonic();
    try {
      const sizes = { sizeBytes: ref.fileBytes, maxBytes: ref.fileBytes };
      const onProgress = this.#progressTeller(entry);
      const [path, manifestPath] = await Promise.all([
        blobs.ensure({ digest: ref.file, extension: ".onnx", ...sizes, onProgress }),
        blobs.ensure({ digest: ref.manifest, extension: ".json", maxBytes: MAX_MANIFEST_BYTES }),
      ]);
      const model = { key: contentKey(ref), path, manifest: await readManifest(manifestPath) };
      index.remember(ref);
      entry.transferMs = clock.monotonic() - beganAtMs;
      entry.progress = { state: "local", model, provider: undefined };
      this.#tell(entry, { state: "cached" });
      return model;
    } catch (error) {
      const failure = fetchFailure(error);
      this.#fail(entry, failure);
      throw failure;
    }
  }

  #ready(entry: Entry, event: Extract<ModelEvent, { state: "ready" }>): void {
    const { model, provider, passedOver, loadMs, warmUpMs = 0 } = event;
    const reason = passedOver.length === 0 ? undefined : passedOver.join("; ").slice(0, MAX_REASON);
    const { transferMs } = entry;
    const timings = {
      ...(transferMs === undefined ? {} : { transferMs }),
      loadMs: Math.max(0, loadMs - warmUpMs),
      warmUpMs,
    };
    entry.progress = { state: "local", model, provider, reason, timings };
    this.#tellReady(entry, provider, reason, timings);
  }

  #tellReady(
    entry: Entry,
    provider: string,
    reason: string | undefined,
    timings: LoadTimings | undefined,
  ): void {
    this.#tell(entry, {
      state: "ready",
      provider,
      ...(reason === undefined ? {} : { reason }),
      ...(timings === undefined ? {} : { timings }),
    });
  }

  #fail(entry: Entry, error: LegacyGpuError, retryAfterMs?: number): void {
    const until = this.#ports.clock.monotonic() + (retryAfterMs ?? FAILURE_MEMORY_MS);
    entry.progress = { state: "failed", error, until };
    this.#ports.log.error(
      { model: entry.ref.name, version: entry.ref.version, err: error },
      "a model is not usable",
    );
    this.#tellFailed(entry, error, until);
  }

  #tellFailed(entry: Entry, error: LegacyGpuError, until: number): void {
    const retryAfterMs = Math.max(0, until - this.#ports.clock.monotonic());
    this.#tell(entry, { state: "failed", reason: error.message.slice(0, MAX_REASON), retryAfterMs });
  }

  #progressTeller(entry: Entry): (receivedBytes: number) => void {
    const progress = new DownloadProgress(this.#ports.clock);
    return (receivedBytes) => {
      const news = progress.note(receivedBytes);
      if (news === undefined) return;
      const { bytesPerSecond } = news;
      const rate = bytesPerSecond === undefined ? {} : { bytesPerSecond };
      const totalBytes = entry.ref.fileBytes;
      this.#tell(entry, { state: "downloading", receivedBytes, totalBytes, ...rate });
    };
  }

  /** What a gateway that has just announced the model should know at once. */
  #tellState(entry: Entry): void {
    const { ref, progress } = entry;
    if (progress.state === "local" && progress.provider !== undefined)
      this.#tellReady(entry, progress.provider, progress.reason, progress.timings);
    else if (progress.state === "local" || this.#ports.index.has(ref)) this.#tell(entry, { state: "cached" });
    else if (progress.state === "failed") this.#tellFailed(entry, progress.error, progress.until);
  }

  #tell({ ref }: Entry, news: Omit<ModelState, "type" | "name" | "version">): void {
    this.#ports.send({ type: "model_state", name: ref.name, version: ref.version, ...news });
  }
}

function newEntry(ref: ModelRef): Entry {
  return { ref, progress: { state: "announced" }, usedAtMs: Number.NEGATIVE_INFINITY, transferMs: undefined };
}

async function readManifest(path: string): Promise<Manifest> {
  const parsed = manifestSchema.safeParse(JSON.parse(await readFile(path, "utf8")));
  if (!parsed.success) throw fail("model_load_failed", `The manifest is not valid: ${parsed.error.message}`);
  return parsed.data;
}

const nameKey = (name: string, version: string): string => `${name}:${version}`;
const contentKey = (ref: ModelRef): string => `${ref.name}:${ref.version}@${ref.file}+${ref.manifest}`;

/** A full disk is somebody's to mend, so it keeps its name. */
function fetchFailure(error: unknown): LegacyGpuError {
  const known = asLegacyGpuError(error);
  if (known.code === "disk_full") return known;
  return fail("model_load_failed", known.message, { ...known.details, cause: known.code }, error);
}
