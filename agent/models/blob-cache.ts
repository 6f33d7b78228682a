/**
 * Files by the digest of their contents, fetched once and kept as long as there is room.
 *
 * A file under its final name is whole and verified: it is written beside, hashed on the way, flushed, then renamed. A broken
 * download leaves a `.part` from which the next one goes on, in this life of the agent or a later one. Neighbours that have the file are
 * asked before the gateway is.
 */

import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Clock, type Random, sleep } from "@legacygpu/shared/clock";
import { asLegacyGpuError, fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { Digest } from "@legacygpu/shared/manifest";
import { blobPath } from "@legacygpu/shared/protocol/version";
import type { LinkGate } from "../link/gate.ts";
import type { HttpReply, HttpRequest } from "../link/network.ts";
import { type Failure, retrying } from "../link/retry.ts";
import { BlobDownload, type BlobOrigin, sizeOf } from "./blob-download.ts";
import type { CacheRoom } from "./cache-room.ts";
import type { Pace } from "./pace.ts";

/** The others at this site, as a download sees them. */
export interface Neighbourhood {
  /**
   * Those to ask now, best first; none: the gateway. While one of them fetches it, this waits for it.
   * @throws `link_closed` when the link is lost meanwhile
   */
  locate(digest: Digest, receivedBytes: number, signal: AbortSignal): Promise<readonly BlobOrigin[]>;
  progress(digest: Digest, receivedBytes: number): void;
  ended(digest: Digest, state: "held" | "failed"): void;
}

export interface BlobCacheOptions {
  readonly directory: string;
  request(path: string, request: HttpRequest): Promise<HttpReply>;
  readonly gate: LinkGate;
  readonly clock: Clock;
  readonly random: Random;
  /** Default: as much as the disk has. */
  readonly room?: CacheRoom | undefined;
  /** Of what comes from the gateway; a site's own network is not spared. Default: as fast as it goes. */
  readonly pace?: Pace | undefined;
  /** Default: there is none, everything comes from the gateway. */
  readonly neighbourhood?: Neighbourhood | undefined;
}

export interface BlobRequest {
  readonly digest: Digest;
  /** With the dot. */
  readonly extension: string;
  readonly maxBytes: number;
  /** Exact, when known. */
  readonly sizeBytes?: number;
  readonly onProgress?: (receivedBytes: number) => void;
}

interface UnderWay {
  readonly path: Promise<string>;
  readonly listeners: ((receivedBytes: number) => void)[];
}

/** A download as long as it is wanted, over all its tries. */
interface Pursuit {
  readonly path: string;
  readonly request: BlobRequest;
  readonly download: BlobDownload;
  /** Undefined for what is too small to ask around for. */
  readonly neighbourhood: Neighbourhood | undefined;
  /** Neighbours that could not serve it. */
  readonly failed: Set<string>;
  mismatches: number;
}

const TRIES = 5;
const BACKOFF = { baseMs: 300, capMs: 10_000 };
/** A try that got so much further costs nothing: a line that breaks again and again still gets there. */
const WORTHWHILE_BYTES = 64 * 1024;
const AFTER_BREAK_MS = 200;
/** Below it, asking around takes longer than fetching. */
const MIN_SHARED_BYTES = 1024 * 1024;
/** How often the gateway is asked for other neighbours when those it named did not serve. */
const MAX_ROUNDS = 4;
/** Until its size is known. */
const ASSUMED_BYTES = 64 * 1024;

export class BlobCache {
  readonly #options: BlobCacheOptions;
  readonly #gateway: BlobOrigin;
  readonly #underWay = new Map<string, UnderWay>();
  readonly #closing = new AbortController();

  constructor(options: BlobCacheOptions) {
    this.#options = options;
    this.#gateway = {
      name: "the gateway",
      pace: options.pace,
      open: (digest, headers, signal) =>
        options.request(blobPath(digest), { method: "GET", headers, signal }),
    };
  }

  path(digest: Digest, extension: string): string {
    return join(this.#options.directory, cachedName(digest, extension));
  }

  /** Whether it is there, with the size that it should have. */
  async has(digest: Digest, extension: string, sizeBytes?: number): Promise<boolean> {
    const size = await sizeOf(this.path(digest, extension));
    return size !== undefined && (sizeBytes === undefined || size === sizeBytes);
  }

  /** Where it is, whole and verified; undefined when it is not there. */
  async find(digest: Digest, extension: string): Promise<string | undefined> {
    return (await this.has(digest, extension)) ? this.path(digest, extension) : undefined;
  }

  /** It was used just now, so that others go first. */
  used(digest: Digest, extension: string): void {
    this.#options.room?.used(cachedName(digest, extension));
  }

  /**
   * The path of the file, which is fetched when it is not there. Those who ask for one blob at a time share one download.
   * @throws `transfer_failed`, `blob_not_found`, `digest_mismatch`, `body_too_large`, `disk_full`, `auth_…`.
   */
  ensure(request: BlobRequest): Promise<string> {
    const path = this.path(request.digest, request.extension);
    let underWay = this.#underWay.get(path);
    if (underWay === undefined) {
      const listeners: UnderWay["listeners"] = [];
      const ensured = this.#ensure(path, request, listeners).finally(() => this.#underWay.delete(path));
      underWay = { path: ensured, listeners };
      this.#underWay.set(path, underWay);
    }
    if (request.onProgress !== undefined) underWay.listeners.push(request.onProgress);
    return underWay.path;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled([...this.#underWay.values()].map(({ path }) => path));
  }

  async #ensure(path: string, request: BlobRequest, listeners: UnderWay["listeners"]): Promise<string> {
    const { digest, extension, sizeBytes } = request;
    if (await this.has(digest, extension, sizeBytes)) {
      this.used(digest, extension);
      return path;
    }
    await mkdir(dirname(path), { recursive: true });
    const { room } = this.#options;
    const booking = await room?.book(cachedName(digest, extension), sizeBytes ?? ASSUMED_BYTES);
    try {
      await this.#pursue(this.#pursuit(path, request, listeners));
    } finally {
      await booking?.release();
    }
    return path;
  }

  async #pursue(pursuit: Pursuit): Promise<void> {
    const { gate, clock, random } = this.#options;
    const { neighbourhood, request } = pursuit;
    const { signal } = this.#closing;
    const limits = { tries: TRIES, backoff: BACKOFF };
    const explain = (error: unknown): Failure => explainDownload(error, pursuit);
    try {
      await retrying(() => this.#try(pursuit), { ...limits, gate, clock, random, signal, explain });
      neighbourhood?.ended(request.digest, "held");
    } catch (error) {
      neighbourhood?.ended(request.digest, "failed");
      throw error;
    }
  }

  async #try(pursuit: Pursuit): Promise<void> {
    try {
      const isServed = await this.#fromNeighbours(pursuit);
      if (!isServed) await this.#fromGateway(pursuit);
      await rename(`${pursuit.path}.part`, pursuit.path);
    } catch (error) {
      if ((error as { code?: unknown }).code !== "ENOSPC") throw error;
      // Others need what is left of the disk more than this download does.
      await rm(`${pursuit.path}.part`, { force: true });
      throw fail("disk_full", `The disk is full: ${(error as Error).message}`, {}, error);
    }
  }

  /** @returns whether one of them served it. What came from one of them and was wrong is fetched from the gateway alone. */
  async #fromNeighbours(pursuit: Pursuit): Promise<boolean> {
    const { request, download, neighbourhood, failed, mismatches } = pursuit;
    if (neighbourhood === undefined || mismatches > 0) return false;
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const present = await download.receivedBytes();
      const named = await neighbourhood.locate(request.digest, present, this.#closing.signal);
      const origins = named.filter(({ name }) => !failed.has(name));
      if (origins.length === 0) return false;
      if (await this.#fromOneOf(origins, pursuit)) return true;
    }
    return false;
  }

  async #fromOneOf(origins: readonly BlobOrigin[], { download, failed }: Pursuit): Promise<boolean> {
    for (const origin of origins) {
      try {
        await download.from(origin);
        return true;
      } catch (error) {
        const { code } = downloadFailure(error);
        const isTheirs = code === "transfer_failed" || code === "blob_not_found" || code.startsWith("auth_");
        if (!isTheirs || this.#closing.signal.aborted) throw error;
        failed.add(origin.name);
      } finally {
        await origin.close?.();
      }
    }
    return false;
  }

  async #fromGateway({ download }: Pursuit): Promise<void> {
    const { gate, clock } = this.#options;
    const { signal } = this.#closing;
    for (;;) {
      const before = await download.receivedBytes();
      const { link } = gate;
      try {
        await download.from(this.#gateway);
        return;
      } catch (error) {
        const gained = (await download.receivedBytes()) - before;
        const isBreak = downloadFailure(error).code === "transfer_failed" && gained >= WORTHWHILE_BYTES;
        if (!isBreak || signal.aborted) throw error;
        await sleep(clock, AFTER_BREAK_MS, signal);
        if (signal.aborted || gate.link !== link) throw error;
      }
    }
  }

  #pursuit(path: string, request: BlobRequest, listeners: UnderWay["listeners"]): Pursuit {
    const { digest, maxBytes, sizeBytes } = request;
    const { clock } = this.#options;
    const isShared = (sizeBytes ?? 0) >= MIN_SHARED_BYTES;
    const neighbourhood = isShared ? this.#options.neighbourhood : undefined;
    const onBytes = (receivedBytes: number): void => {
      neighbourhood?.progress(digest, receivedBytes);
      for (const listener of listeners) listener(receivedBytes);
    };
    const download = new BlobDownload({
      part: `${path}.part`,
      wanted: { digest, maxBytes, sizeBytes },
      clock,
      signal: this.#closing.signal,
      onBytes,
    });
    return { path, request, download, neighbourhood, failed: new Set(), mismatches: 0 };
  }
}

const cachedName = (digest: Digest, extension: string): string => digest.slice("sha256:".length) + extension;

/** A name in the cache's folder as the digest that it stands for. */
export const digestOfCached = (fileName: string): Digest => `sha256:${fileName.split(".")[0]}`;

/** Wrong bytes may be the fault of an old part or of a neighbour: once more, from the beginning. */
function explainDownload(failed: unknown, pursuit: Pursuit): Failure {
  const error = downloadFailure(failed);
  if (error.code !== "digest_mismatch")
    return { error, isPassing: error.retryable && error.code !== "disk_full" };
  pursuit.mismatches += 1;
  return { error, isPassing: pursuit.mismatches === 1 };
}

function downloadFailure(error: unknown): LegacyGpuError {
  const known = asLegacyGpuError(error);
  if (known.code !== "internal") return known;
  const code = (error as { code?: unknown }).code;
  // A full disk or a missing permission does not heal by asking again.
  if (code === "ENOSPC" || code === "EACCES" || code === "EROFS") return known;
  return fail("transfer_failed", `The download broke off: ${(error as Error).message}`, {}, error);
}
