/**
 * Files that arrive in pieces: what has come of each stays in a file of its own until the whole is there and has its digest.
 *
 * | state of a partial file | what holds                                          | leaves by                                               |
 * | ----------------------- | --------------------------------------------------- | ------------------------------------------------------- |
 * | waiting                 | so many bytes have come; nobody is sending           | a piece that begins there: receiving; a day: removed     |
 * | receiving               | one piece has the turn, others wait for it           | its end or a break: waiting; the last byte: blob, removed |
 * | removed                 | its file is gone, or has become the blob             | never; the next piece begins a new one                   |
 *
 * Partial files only save time, so that they may go whenever room is needed: whoever sends the next piece is told to begin anew. A full
 * disk and a wrong digest remove them as well.
 */

import { createHash, type Hash } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import { open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { MAX_MODEL_BYTES } from "@legacygpu/shared/api/models";
import { type Clock, sleep } from "@legacygpu/shared/clock";
import { fail, LegacyGpuError } from "@legacygpu/shared/errors";
import { type Digest, digestSchema } from "@legacygpu/shared/manifest";
import { assertDigest, type Blobs } from "./blobs.ts";
import { explainFault } from "./disk-fault.ts";

export interface BlobUploadLimits {
  /** Files that are partly there. Default 32. */
  readonly maxPartials?: number;
  /** Of all partial files together, as far as they have come. Default 16 GiB. */
  readonly maxPartialBytes?: number;
}

export interface Piece {
  /** Where it begins in the whole. */
  readonly offset: number;
  /** Of the whole; undefined: it ends where this piece ends. */
  readonly totalBytes: number | undefined;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** How far a file has come. */
export interface Standing {
  readonly offset: number;
  readonly isComplete: boolean;
}

interface Partial {
  readonly path: string;
  receivedBytes: number;
  /** Of the bytes that were received; undefined: of an earlier start, so that they must be read again. */
  hash: Hash | undefined;
  touchedAtMs: number;
  /** Settles when the piece that has the turn is done. */
  turn: Promise<void> | undefined;
}

const PARTIAL_FILE = /^([0-9a-f]{64})\.part$/;
const LIFE_MS = 24 * 3_600_000;
const DEFAULT_MAX_PARTIALS = 32;
const DEFAULT_MAX_PARTIAL_BYTES = 16 * 1024 ** 3;
/** Longer than the server keeps a connection on which nothing arrives: a piece whose client is gone gives way to its successor. */
const TURN_PATIENCE_MS = 20_000;
const READ_BYTES = 256 * 1024;

export class BlobUploads {
  readonly #folder: string;
  readonly #blobs: Blobs;
  readonly #clock: Clock;
  readonly #limits: Required<BlobUploadLimits>;
  readonly #partials = new Map<Digest, Partial>();

  private constructor(folder: string, blobs: Blobs, clock: Clock, limits: BlobUploadLimits) {
    this.#folder = folder;
    this.#blobs = blobs;
    this.#clock = clock;
    this.#limits = {
      maxPartials: limits.maxPartials ?? DEFAULT_MAX_PARTIALS,
      maxPartialBytes: limits.maxPartialBytes ?? DEFAULT_MAX_PARTIAL_BYTES,
    };
  }

  /** @param folder the one that `blobs` lie in: a complete file only changes its name */
  static async open(
    folder: string,
    blobs: Blobs,
    clock: Clock,
    limits: BlobUploadLimits = {},
  ): Promise<BlobUploads> {
    const uploads = new BlobUploads(folder, blobs, clock, limits);
    for (const name of await readdir(folder)) {
      const digits = PARTIAL_FILE.exec(name)?.[1];
      if (digits === undefined) continue;
      const path = join(folder, name);
      const { size, mtimeMs } = await stat(path);
      const partial = { path, receivedBytes: size, hash: undefined, touchedAtMs: mtimeMs, turn: undefined };
      uploads.#partials.set(`sha256:${digits}`, partial);
    }
    await uploads.#makeRoom(0);
    return uploads;
  }

  async standing(digest: Digest): Promise<Standing> {
    const sizeBytes = await this.#blobs.sizeBytes(digest);
    if (sizeBytes !== undefined) return { offset: sizeBytes, isComplete: true };
    const partial = this.#partials.get(digest);
    return { offset: partial === undefined ? 0 : partial.receivedBytes, isComplete: false };
  }

  /**
   * Takes what arrives. Bytes that came before `chunks` failed are kept.
   *
   * @throws `upload_offset_wrong` with `details.offset`; `body_too_large`, `digest_mismatch`, `store_full`, and then the file begins anew;
   * whatever `chunks` throws
   */
  async append(digest: Digest, piece: Piece): Promise<Standing> {
    if ((piece.totalBytes ?? 0) > MAX_MODEL_BYTES) throw tooLarge(MAX_MODEL_BYTES);
    const { partial, giveBack } = await this.#takeTurn(digest);
    try {
      return await this.#receive(digest, partial, piece);
    } catch (error) {
      throw explainFault(error);
    } finally {
      giveBack();
    }
  }

  /** Removes what has not come any further for a day, and the oldest when there is too much. @param more that are to come */
  async #makeRoom(more: number): Promise<void> {
    const nowMs = this.#clock.now();
    const waiting = [...this.#partials]
      .filter(([, { turn }]) => turn === undefined)
      .sort(([, a], [, b]) => a.touchedAtMs - b.touchedAtMs);
    for (const [digest, partial] of waiting) {
      if (partial.touchedAtMs + LIFE_MS > nowMs && !this.#isTooMuch(more)) return;
      if (partial.turn !== undefined) continue;
      const giveBack = this.#claim(partial);
      await this.#discard(digest, partial).finally(giveBack);
    }
  }

  #isTooMuch(more: number): boolean {
    let bytes = 0;
    for (const { receivedBytes } of this.#partials.values()) bytes += receivedBytes;
    const { maxPartials, maxPartialBytes } = this.#limits;
    return this.#partials.size + more > maxPartials || bytes > maxPartialBytes;
  }

  /** Whoever has the turn: a successor must not begin before the file is gone. */
  async #discard(digest: Digest, { path }: Partial): Promise<void> {
    await rm(path, { force: true });
    this.#partials.delete(digest);
  }

  // Taking turns

  /** @throws `upload_offset_wrong`, `store_full` */
  async #takeTurn(digest: Digest): Promise<{ partial: Partial; giveBack: () => void }> {
    const giveUpAtMs = this.#clock.monotonic() + TURN_PATIENCE_MS;
    await this.#makeRoom(this.#partials.has(digest) ? 0 : 1);
    for (;;) {
      const partial = this.#partials.get(digest) ?? this.#begin(digest);
      if (partial.turn === undefined) return { partial, giveBack: this.#claim(partial) };
      const leftMs = giveUpAtMs - this.#clock.monotonic();
      if (leftMs <= 0) throw offsetWrong("Another piece of it is still arriving", partial.receivedBytes);
      const stop = new AbortController();
      await Promise.race([partial.turn, sleep(this.#clock, leftMs, stop.signal)]);
      stop.abort();
    }
  }

  #claim(partial: Partial): () => void {
    let end: () => void = () => {};
    partial.turn = new Promise((resolve) => {
      end = resolve;
    });
    return () => {
      partial.turn = undefined;
      partial.touchedAtMs = this.#clock.now();
      end();
    };
  }

  #begin(digest: Digest): Partial {
    if (this.#partials.size >= this.#limits.maxPartials) {
      const message = "Too many files are being sent to this gateway; wait until one of them is there.";
      throw fail("store_full", message, { files: this.#partials.size });
    }
    const partial: Partial = {
      path: join(this.#folder, `${digestSchema.parse(digest).slice("sha256:".length)}.part`),
      receivedBytes: 0,
      hash: createHash("sha256"),
      touchedAtMs: this.#clock.now(),
      turn: undefined,
    };
    this.#partials.set(digest, partial);
    return partial;
  }

  // Receiving

  async #receive(digest: Digest, partial: Partial, piece: Piece): Promise<Standing> {
    const sizeBytes = await this.#blobs.sizeBytes(digest);
    if (sizeBytes !== undefined) {
      // Somebody else was faster. The client may be in the middle of sending: read to the end, so that it gets the answer.
      await this.#discard(digest, partial);
      for await (const _ of piece.chunks);
      return { offset: sizeBytes, isComplete: true };
    }
    if (piece.offset !== partial.receivedBytes)
      throw offsetWrong(`The piece begins at byte ${piece.offset}`, partial.receivedBytes);
    try {
      await this.#write(partial, piece);
      const { receivedBytes } = partial;
      if (piece.totalBytes !== undefined && receivedBytes < piece.totalBytes)
        return { offset: receivedBytes, isComplete: false };
      await this.#finish(digest, partial);
      return { offset: receivedBytes, isComplete: true };
    } catch (error) {
      if (!isBreak(error)) await this.#discard(digest, partial);
      throw error;
    }
  }

  async #write(partial: Partial, { totalBytes = MAX_MODEL_BYTES, chunks }: Piece): Promise<void> {
    partial.hash ??= await hashOf(partial);
    const { hash } = partial;
    const file = await open(partial.path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, 0o600);
    try {
      for await (const chunk of chunks) {
        if (partial.receivedBytes + chunk.length > totalBytes) throw tooLarge(totalBytes);
        await file.appendFile(chunk);
        hash.update(chunk);
        partial.receivedBytes += chunk.length;
      }
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** @throws `digest_mismatch` */
  async #finish(digest: Digest, partial: Partial): Promise<void> {
    assertDigest(digest, partial.hash ?? (await hashOf(partial)));
    await this.#blobs.adopt(digest, partial.path);
    this.#partials.delete(digest);
  }
}

/** The sender is gone and its bytes are as good as before; after a fault of the disk nobody knows what is in the file. */
function isBreak(error: unknown): boolean {
  return (
    error instanceof LegacyGpuError && error.code !== "digest_mismatch" && error.code !== "body_too_large"
  );
}

async function hashOf({ path }: Partial): Promise<Hash> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: READ_BYTES }))
    hash.update(chunk as Buffer);
  return hash;
}

function offsetWrong(what: string, offset: number): LegacyGpuError {
  return fail("upload_offset_wrong", `${what}; the file goes on at byte ${offset}.`, { offset });
}

function tooLarge(limitBytes: number): LegacyGpuError {
  const message = `The file is longer than ${limitBytes} bytes, which is what was announced or what a model may have.`;
  return fail("body_too_large", message, { limitBytes });
}
