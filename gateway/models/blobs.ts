/** Files by their SHA-256: written once, checked while they arrive, never changed. */

import { createHash, randomBytes } from "node:crypto";
import { createReadStream, type ReadStream } from "node:fs";
import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { fail } from "@legacygpu/shared/errors";
import { type Digest, digestSchema } from "@legacygpu/shared/manifest";

export class Blobs {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(folder: string): Promise<Blobs> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
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
   * @throws `digest_mismatch`; whatever `chunks` throws
   */
  async receive(digest: Digest, chunks: AsyncIterable<Uint8Array>): Promise<number> {
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
      const actual = `sha256:${hash.digest("hex")}`;
      if (actual !== digest) {
        throw fail("digest_mismatch", `Announced was ${digest}, received was ${actual}.`, {
          announced: digest,
          actual,
        });
      }
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
    return { stream: createReadStream(this.#path(digest), { highWaterMark: 256 * 1024 }), sizeBytes };
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

export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
