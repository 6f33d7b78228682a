/** Files by their SHA-256: written once, checked while they arrive, never changed. */

import { createHash, type Hash, randomBytes } from "node:crypto";
import { createReadStream, type ReadStream } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { fail } from "@legacygpu/shared/errors";
import { type Digest, digestSchema } from "@legacygpu/shared/manifest";
import type { ByteRange } from "@legacygpu/shared/protocol/byte-range";
import { explainFault } from "./disk-fault.ts";

/** Held in memory of each file that is being sent. */
const READ_BYTES = 256 * 1024;

const BLOB_FILE = /^[0-9a-f]{64}$/;
/** What a crash leaves of a file that was arriving. */
const LEFTOVER_FILE = /^[0-9a-f]{64}\.[0-9a-f]+\.tmp$/;

/** A blob that lies in the folder. */
export interface StoredBlob {
  readonly digest: Digest;
  readonly storedAtMs: number;
}

export class Blobs {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(folder: string): Promise<Blobs> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(folder))
      if (LEFTOVER_FILE.test(name)) await rm(join(folder, name), { force: true });
    return new Blobs(folder);
  }

  /** Undefined when there is no such blob. */
  async sizeBytes(digest: Digest): Promise<number | undefined> {
    try {
      return (await stat(this.#path(digest))).size;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  /**
   * Stores what arrives, if it is what was announced.
   *
   * @returns its size
   * @throws `digest_mismatch`, `store_full`; whatever `chunks` throws. Nothing is left behind then.
   */
  async receive(digest: Digest, chunks: AsyncIterable<Uint8Array>): Promise<number> {
    try {
      return await this.#receive(digest, chunks);
    } catch (error) {
      throw explainFault(error);
    }
  }

  /** Takes a file of the same disk whose contents were checked. */
  adopt(digest: Digest, file: string): Promise<void> {
    return rename(file, this.#path(digest));
  }

  /** Idempotent. Whoever reads it at this moment gets it whole. */
  remove(digest: Digest): Promise<void> {
    return rm(this.#path(digest), { force: true });
  }

  async all(): Promise<StoredBlob[]> {
    const found: StoredBlob[] = [];
    for (const name of await readdir(this.#folder)) {
      if (!BLOB_FILE.test(name)) continue;
      const facts = await stat(join(this.#folder, name)).catch(() => undefined);
      if (facts !== undefined) found.push({ digest: `sha256:${name}`, storedAtMs: facts.mtimeMs });
    }
    return found;
  }

  async #receive(digest: Digest, chunks: AsyncIterable<Uint8Array>): Promise<number> {
    const path = this.#path(digest);
    const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
    const hash = createHash("sha256");
    let sizeBytes = 0;
    const file = await open(temporary, "wx", 0o600);
    try {
      for await (const chunk of chunks) {
        hash.update(chunk);
        sizeBytes += chunk.length;
        await file.writeFile(chunk);
      }
      assertDigest(digest, hash);
      await file.sync();
      await file.close();
      await rename(temporary, path);
    } catch (error) {
      await file.close().catch(() => undefined);
      await rm(temporary, { force: true });
      throw error;
    }
    return sizeBytes;
  }

  /** @throws `blob_not_found` */
  async read(digest: Digest): Promise<Buffer> {
    await this.#sizeOrFail(digest);
    return readFile(this.#path(digest));
  }

  /** @throws `blob_not_found` */
  async stream(digest: Digest): Promise<{ stream: ReadStream; sizeBytes: number }> {
    const sizeBytes = await this.#sizeOrFail(digest);
    return { stream: this.#reading(digest), sizeBytes };
  }

  /** A part of it. The range is within its size. */
  streamRange(digest: Digest, { first, last }: ByteRange): { stream: ReadStream; sizeBytes: number } {
    return { stream: this.#reading(digest, { start: first, end: last }), sizeBytes: last - first + 1 };
  }

  #reading(digest: Digest, part: { start?: number; end?: number } = {}): ReadStream {
    return createReadStream(this.#path(digest), { highWaterMark: READ_BYTES, ...part });
  }

  async #sizeOrFail(digest: Digest): Promise<number> {
    const sizeBytes = await this.sizeBytes(digest);
    if (sizeBytes === undefined) throw fail("blob_not_found", `There is no blob ${digest}.`);
    return sizeBytes;
  }

  #path(digest: Digest): string {
    // The schema allows nothing but hexadecimal digits: no digest can leave the folder.
    return join(this.#folder, digestSchema.parse(digest).slice("sha256:".length));
  }
}

/** @throws `digest_mismatch` */
export function assertDigest(announced: Digest, hash: Hash): void {
  const actual = `sha256:${hash.digest("hex")}`;
  if (actual === announced) return;
  throw fail("digest_mismatch", `Announced was ${announced}, received was ${actual}.`, { announced, actual });
}

export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
