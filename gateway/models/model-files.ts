/** The files of models on their way into the catalogue: whole or in pieces, kept while somebody is pushing them. */

import { join } from "node:path";
import type { Clock } from "@legacygpu/shared/clock";
import type { Digest } from "@legacygpu/shared/manifest";
import { BlobCare } from "./blob-care.ts";
import { type BlobUploadLimits, BlobUploads, type Piece, type Standing } from "./blob-uploads.ts";
import { Blobs } from "./blobs.ts";

export interface ModelFilesOptions {
  readonly folder: string;
  readonly clock: Clock;
  readonly limits?: BlobUploadLimits | undefined;
  /** Whether a model has it as its file or manifest. */
  readonly isNamed: (digest: Digest) => boolean;
}

export class ModelFiles {
  readonly blobs: Blobs;
  readonly care: BlobCare;
  readonly #uploads: BlobUploads;

  private constructor(blobs: Blobs, uploads: BlobUploads, care: BlobCare) {
    this.blobs = blobs;
    this.#uploads = uploads;
    this.care = care;
  }

  static async open({ folder, clock, limits, isNamed }: ModelFilesOptions): Promise<ModelFiles> {
    const path = join(folder, "blobs");
    const blobs = await Blobs.open(path);
    const uploads = await BlobUploads.open(path, blobs, clock, limits);
    return new ModelFiles(blobs, uploads, new BlobCare(blobs, clock, isNamed));
  }

  /** Throws like {@link Blobs.receive}. */
  async receive(
    digest: Digest,
    chunks: AsyncIterable<Uint8Array>,
  ): Promise<{ sizeBytes: number; isNew: boolean }> {
    await this.care.hold(digest);
    const existing = await this.blobs.sizeBytes(digest);
    if (existing !== undefined) {
      // The client may be in the middle of sending: read to the end, so that it gets the answer.
      for await (const _ of chunks);
      return { sizeBytes: existing, isNew: false };
    }
    const sizeBytes = await this.blobs.receive(digest, chunks);
    await this.care.hold(digest);
    return { sizeBytes, isNew: true };
  }

  /** Throws like {@link BlobUploads.append}. */
  async append(digest: Digest, piece: Piece): Promise<Standing> {
    await this.care.hold(digest);
    const standing = await this.#uploads.append(digest, piece);
    await this.care.hold(digest);
    return standing;
  }

  /** How far a file has come; one that is there stays until it can be named. */
  async standing(digest: Digest): Promise<Standing> {
    await this.care.hold(digest);
    return this.#uploads.standing(digest);
  }
}
