/** Stores on a real disk and a virtual clock, one folder for each test, and parts that arrive as a test wants them to. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "node:test";
import { createLogger } from "@legacygpu/shared/log";
import type { Principal } from "../../gateway/auth/principal.ts";
import { UploadStore, type UploadStoreOptions } from "../../gateway/uploads/upload-store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { principal } from "../support/principals.ts";
import { until } from "../support/until.ts";

export const ada: Principal = principal("ada", "submit");
export const bob: Principal = principal("bob", "submit");
export const admin: Principal = principal("root", "admin");

/** What the tests of a file work with; each of them begins with an empty folder. */
export class UploadStoreRig {
  clock = new ManualClock();
  root = "";
  #opened: UploadStore[] = [];

  static forEachTest(): UploadStoreRig {
    const rig = new UploadStoreRig();
    beforeEach(() => rig.#begin());
    afterEach(() => rig.#end());
    return rig;
  }

  get folder(): string {
    return join(this.root, "uploads");
  }

  /** Also again, on what an earlier one has left. */
  async open(more: Partial<UploadStoreOptions> = {}): Promise<UploadStore> {
    const { clock, folder } = this;
    const store = await UploadStore.open({ folder, clock, log: createLogger("test", "silent"), ...more });
    this.#opened.push(store);
    return store;
  }

  async #begin(): Promise<void> {
    this.root = await mkdtemp(join(tmpdir(), "legacygpu-uploads-"));
    this.clock = new ManualClock();
    this.#opened = [];
  }

  async #end(): Promise<void> {
    for (const store of this.#opened) await store.close();
    assert.equal(this.clock.pendingCount, 0, "a timer was left behind");
    await rm(this.root, { recursive: true });
  }
}

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** A part in chunks of `chunkBytes`. */
export function part(offset: number, bytes: Uint8Array, chunkBytes = 1000) {
  return { offset, sizeBytes: bytes.length, chunks: chunked(bytes, chunkBytes) };
}

export async function* chunked(bytes: Uint8Array, chunkBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
}

export const BREAK = new Error("the connection broke");

export async function* broken(bytes: Uint8Array, chunkBytes = 1000): AsyncGenerator<Uint8Array> {
  yield* chunked(bytes, chunkBytes);
  throw BREAK;
}

/** Chunks under the control of a test. */
export class HeldChunks implements AsyncIterable<Uint8Array> {
  readonly #first: Uint8Array;
  readonly #rest: Promise<Uint8Array>;
  #resolve: (rest: Uint8Array) => void = () => {};
  #reject: (error: Error) => void = () => {};
  /** The writer has taken the first chunk and waits for more. */
  isHeld = false;

  constructor(first: Uint8Array) {
    this.#first = first;
    this.#rest = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  continueWith(rest: Uint8Array): void {
    this.#resolve(rest);
  }

  break(): void {
    this.#reject(BREAK);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    yield this.#first;
    this.isHeld = true;
    yield await this.#rest;
  }

  async untilHeld(): Promise<void> {
    await until("the first chunk to be taken", () => this.isHeld);
  }
}

export const PICTURE = { contentType: "image/png" };

export async function uploaded(store: UploadStore, bytes: Uint8Array, principal = ada): Promise<string> {
  const { id } = await store.create(principal, { ...PICTURE, sizeBytes: bytes.length });
  await store.append(principal, id, part(0, bytes));
  return id;
}
