/**
 * Files by the digest of their contents, fetched once and kept.
 *
 * A file under its final name is whole and verified: it is written beside, hashed on the way, flushed, then renamed. A broken
 * download leaves a `.part` from which the next one goes on.
 */

import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Clock, Random } from "@legacygpu/shared/clock";
import { asLegacyGpuError, fail } from "@legacygpu/shared/errors";
import type { Digest } from "@legacygpu/shared/manifest";
import { blobPath } from "@legacygpu/shared/protocol/version";
import type { LinkGate } from "../link/gate.ts";
import type { HttpReply, HttpRequest } from "../link/network.ts";
import { type Failure, retrying } from "../link/retry.ts";

export interface BlobCacheOptions {
  readonly directory: string;
  request(path: string, request: HttpRequest): Promise<HttpReply>;
  readonly gate: LinkGate;
  readonly clock: Clock;
  readonly random: Random;
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

const TRIES = 5;
const BACKOFF = { baseMs: 300, capMs: 10_000 };

export class BlobCache {
  readonly #options: BlobCacheOptions;
  readonly #underWay = new Map<string, Promise<string>>();
  readonly #closing = new AbortController();

  constructor(options: BlobCacheOptions) {
    this.#options = options;
  }

  path(digest: Digest, extension: string): string {
    return join(this.#options.directory, digest.slice("sha256:".length) + extension);
  }

  /** Whether it is there, with the size that it should have. */
  async has(digest: Digest, extension: string, sizeBytes?: number): Promise<boolean> {
    const size = await sizeOf(this.path(digest, extension));
    return size !== undefined && (sizeBytes === undefined || size === sizeBytes);
  }

  /**
   * The path of the file, which is fetched when it is not there. Those who ask for one blob at a time share one download.
   * @throws `transfer_failed`, `blob_not_found`, `digest_mismatch`, `body_too_large`, `auth_…`.
   */
  ensure(request: BlobRequest): Promise<string> {
    const path = this.path(request.digest, request.extension);
    let download = this.#underWay.get(path);
    if (download === undefined) {
      download = this.#ensure(path, request).finally(() => this.#underWay.delete(path));
      this.#underWay.set(path, download);
    }
    return download;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#underWay.values());
  }

  async #ensure(path: string, request: BlobRequest): Promise<string> {
    if (await this.has(request.digest, request.extension, request.sizeBytes)) return path;
    const { gate, clock, random } = this.#options;
    const { signal } = this.#closing;
    const limits = { tries: TRIES, backoff: BACKOFF };
    const download = (): Promise<void> => this.#download(path, request);
    await retrying(download, { ...limits, gate, clock, random, signal, explain: explainDownload });
    return path;
  }

  async #download(path: string, request: BlobRequest): Promise<void> {
    const part = `${path}.part`;
    await mkdir(dirname(path), { recursive: true });
    const hash = createHash("sha256");
    const present = await hashFile(part, hash);
    const headers: Record<string, string> = present > 0 ? { range: `bytes=${present}-` } : {};
    const signal = this.#closing.signal;
    const reply = await this.#options.request(blobPath(request.digest), { method: "GET", headers, signal });
    if (reply.status === 416) {
      // The part is no beginning of the file.
      await rm(part, { force: true });
    }
    await expectBlob(reply, request.digest);
    const isResumed = reply.status === 206 && present > 0;
    const received = isResumed ? { hash, bytes: present } : { hash: createHash("sha256"), bytes: 0 };
    await writeBody(reply, part, received, request);
    await verify(part, received, request);
    await rename(part, path);
  }
}

interface Received {
  readonly hash: Hash;
  bytes: number;
}

async function writeBody(
  reply: HttpReply,
  part: string,
  received: Received,
  request: BlobRequest,
): Promise<void> {
  const limit = request.sizeBytes ?? request.maxBytes;
  const file = await open(part, received.bytes > 0 ? "a" : "w", 0o640);
  try {
    for await (const chunk of reply.body as AsyncIterable<Buffer>) {
      received.bytes += chunk.length;
      if (received.bytes > limit)
        throw fail("body_too_large", `A blob is larger than the ${limit} bytes announced.`);
      received.hash.update(chunk);
      await file.write(chunk);
      request.onProgress?.(received.bytes);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

async function verify(part: string, received: Received, { digest, sizeBytes }: BlobRequest): Promise<void> {
  if (sizeBytes !== undefined && received.bytes < sizeBytes)
    throw fail("transfer_failed", `The download ended after ${received.bytes} of ${sizeBytes} bytes.`);
  const actual = `sha256:${received.hash.digest("hex")}`;
  if (actual === digest) return;
  await rm(part, { force: true });
  throw fail("digest_mismatch", `A blob should have the digest ${digest} and has ${actual}.`);
}

/** @returns the size of what is there, 0 when there is nothing. */
async function hashFile(path: string, hash: Hash): Promise<number> {
  const size = await sizeOf(path);
  if (size === undefined) return 0;
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return size;
}

async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    (found) => found.size,
    () => undefined,
  );
}

async function expectBlob(reply: HttpReply, digest: Digest): Promise<void> {
  if (reply.status === 200 || reply.status === 206) return;
  const said = (await reply.body.text()).slice(0, 300);
  if (reply.status === 404) throw fail("blob_not_found", `The gateway does not have the blob ${digest}.`);
  if (reply.status === 401) throw fail("auth_invalid");
  if (reply.status === 403) throw fail("auth_forbidden");
  throw fail("transfer_failed", `The gateway answered HTTP ${reply.status} for a blob: ${said}`);
}

function explainDownload(failed: unknown): Failure {
  const error = downloadFailure(failed);
  return { error, isPassing: error.retryable || error.code === "digest_mismatch" };
}

function downloadFailure(error: unknown) {
  const known = asLegacyGpuError(error);
  if (known.code !== "internal") return known;
  const code = (error as { code?: unknown }).code;
  // A full disk or a missing permission does not heal by asking the gateway again.
  if (code === "ENOSPC" || code === "EACCES" || code === "EROFS") return known;
  return fail("transfer_failed", `The download broke off: ${(error as Error).message}`, {}, error);
}
