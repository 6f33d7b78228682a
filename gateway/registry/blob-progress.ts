/** How fast files come to one worker from the gateway, from what it tells of them once a second. */

import type { Digest } from "@legacygpu/shared/manifest";
import type { AgentMessage, MessageOf } from "@legacygpu/shared/protocol/messages";
import { LEAST_TRANSFER_BYTES } from "./bandwidth.ts";
import type { WorkerPath } from "./worker-path.ts";

export type BlobState = MessageOf<AgentMessage, "blob_state">;

/** After such a pause it begins anew: the line was cut, or the worker did something else. */
const MAX_PAUSE_MS = 5000;
/** A second, and what may delay a message. */
const NEXT_WORD_MS = 1500;
const MAX_FILES = 16;

interface Standing {
  /** When it had so much. */
  readonly atMs: number;
  readonly receivedBytes: number;
  heardAtMs: number;
}

export class BlobProgress {
  readonly #path: WorkerPath;
  readonly #files = new Map<Digest, Standing>();

  constructor(path: WorkerPath) {
    this.#path = path;
  }

  /** @param atMs monotonic, when it was heard. */
  heard({ digest, state, receivedBytes = 0 }: BlobState, atMs: number): void {
    if (state !== "fetching") {
      this.#files.delete(digest);
      return;
    }
    const line = this.#path.site.toSite;
    line.expectFor(NEXT_WORD_MS);
    const earlier = this.#files.get(digest);
    const gainedBytes = earlier === undefined ? 0 : receivedBytes - earlier.receivedBytes;
    if (earlier === undefined || gainedBytes < 0 || atMs - earlier.heardAtMs > MAX_PAUSE_MS) {
      this.#begin(digest, { atMs, receivedBytes, heardAtMs: atMs });
      return;
    }
    earlier.heardAtMs = atMs;
    // On a slow line a second is too little to tell.
    if (gainedBytes < LEAST_TRANSFER_BYTES) return;
    line.transferred(earlier.atMs, atMs, gainedBytes);
    this.#files.set(digest, { atMs, receivedBytes, heardAtMs: atMs });
  }

  #begin(digest: Digest, standing: Standing): void {
    if (this.#files.size >= MAX_FILES && !this.#files.has(digest)) return;
    this.#files.set(digest, standing);
  }
}
