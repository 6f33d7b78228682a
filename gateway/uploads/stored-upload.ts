/**
 * One upload, from its announcement to its removal.
 *
 * | state       | what holds                                        | leaves by                                              |
 * | ----------- | ------------------------------------------------- | ------------------------------------------------------ |
 * | `receiving` | bytes are missing, or their digest is not checked | last byte, and the digest fits: `complete`; `removed`  |
 * | `complete`  | all bytes are on disk and are what was announced  | `removed`                                              |
 * | `removed`   | its files are gone or going                       | never                                                  |
 *
 * In `receiving` one part at a time has the turn: others wait for it, or are told after a while where to go on. A wrong digest leads
 * from the last byte back to byte 0 of `receiving`. In `complete` a part changes nothing; in `removed` a part that is still
 * arriving ends at its next chunk.
 */

import { type Clock, sleep } from "@legacygpu/shared/clock";
import { asLegacyGpuError, fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { UploadFacts, UploadFolder } from "./upload-folder.ts";

export type UploadState = UploadFacts["state"] | "removed";

export interface Part {
  /** Where it begins in the whole. */
  readonly offset: number;
  /** Undefined when its length was not announced. */
  readonly sizeBytes: number | undefined;
  readonly chunks: AsyncIterable<Uint8Array>;
}

export interface UploadParts {
  readonly folder: UploadFolder;
  readonly clock: Clock;
  /** So many bytes may be lost when the power fails in the middle of a part. */
  readonly flushBytes: number;
}

/** Longer than the server keeps a connection on which nothing arrives: a part whose client is gone gives way to its successor. */
const TURN_PATIENCE_MS = 20_000;
/** A use so soon after the last is not written down again. */
const USE_GRAIN_MS = 60_000;

export class StoredUpload {
  readonly #parts: UploadParts;
  #facts: UploadFacts;
  /** Settles when the part that has the turn is done. */
  #turn: Promise<void> | undefined;
  /** Changes of the file of facts happen one after the other. */
  #writing: Promise<void> = Promise.resolve();
  #removal: Promise<void> | undefined;

  constructor(parts: UploadParts, facts: UploadFacts) {
    this.#parts = parts;
    this.#facts = facts;
  }

  get facts(): UploadFacts {
    return this.#facts;
  }

  get state(): UploadState {
    return this.#removal === undefined ? this.#facts.state : "removed";
  }

  /** A part is arriving. */
  get isBusy(): boolean {
    return this.#turn !== undefined;
  }

  /**
   * Takes what arrives. Bytes that came before `chunks` failed are kept.
   *
   * @throws `upload_offset_wrong` with `details.offset`; `body_too_large`, and then nothing of the part is kept; `digest_mismatch`;
   * `upload_not_found` when it is removed meanwhile; whatever `chunks` throws
   */
  async append(part: Part): Promise<void> {
    const giveBack = await this.#takeTurn();
    try {
      this.#check(part);
      if (part.sizeBytes !== 0) await this.#receive(part.chunks);
      await this.#finish();
    } catch (error) {
      this.#assertPresent();
      throw error;
    } finally {
      giveBack();
    }
  }

  /** @throws `upload_incomplete`, `upload_not_found` */
  async read(): Promise<Buffer> {
    const { state, sizeBytes, receivedBytes, id } = this.#facts;
    if (state !== "complete") {
      const message = `Upload ${id} has ${receivedBytes} of its ${sizeBytes} bytes; send the rest first.`;
      throw fail("upload_incomplete", message, { offset: receivedBytes, bytes: sizeBytes });
    }
    await this.#noteUse();
    try {
      return await this.#parts.folder.read(id);
    } catch (error) {
      this.#assertPresent();
      throw error;
    }
  }

  /** After a start: the process may have ended between the last byte and the check of the digest. */
  async recover(): Promise<void> {
    try {
      await this.#finish();
    } catch (error) {
      if (asLegacyGpuError(error).code !== "digest_mismatch") throw error;
    }
  }

  /** Idempotent. */
  remove(): Promise<void> {
    this.#removal ??= this.#oneByOne(() => this.#parts.folder.remove(this.#facts.id));
    return this.#removal;
  }

  /** Resolves when no part has the turn and nothing is being written. */
  async idle(): Promise<void> {
    while (this.#turn !== undefined) await this.#turn;
    await this.#writing.catch(() => undefined);
  }

  // Taking turns

  /** @returns what gives the turn back. */
  async #takeTurn(): Promise<() => void> {
    const { clock } = this.#parts;
    const giveUpAtMs = clock.monotonic() + TURN_PATIENCE_MS;
    while (this.#turn !== undefined) {
      const leftMs = giveUpAtMs - clock.monotonic();
      if (leftMs <= 0) throw this.#offsetWrong("Another part is still arriving");
      const stop = new AbortController();
      await Promise.race([this.#turn, sleep(clock, leftMs, stop.signal)]);
      stop.abort();
    }
    let end: () => void = () => {};
    this.#turn = new Promise((resolve) => {
      end = resolve;
    });
    return () => {
      this.#turn = undefined;
      end();
    };
  }

  #check({ offset, sizeBytes }: Part): void {
    this.#assertPresent();
    const { receivedBytes } = this.#facts;
    if (offset !== receivedBytes) throw this.#offsetWrong(`The part begins at byte ${offset}`);
    if (sizeBytes !== undefined && offset + sizeBytes > this.#facts.sizeBytes) throw this.#tooLong(offset);
  }

  // Receiving

  async #receive(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const { folder, flushBytes } = this.#parts;
    const { id, sizeBytes, receivedBytes: startBytes } = this.#facts;
    const file = await folder.openData(id);
    let writtenBytes = startBytes;
    const confirm = async (): Promise<void> => {
      if (writtenBytes === this.#facts.receivedBytes) return;
      await file.datasync();
      await this.#change({ receivedBytes: writtenBytes, touchedAtMs: this.#parts.clock.now() });
    };
    try {
      // A part before this one may have left bytes that were never confirmed.
      await file.truncate(startBytes);
      for await (const chunk of chunks) {
        this.#assertPresent();
        if (writtenBytes + chunk.length > sizeBytes) throw this.#tooLong(startBytes);
        await file.appendFile(chunk);
        writtenBytes += chunk.length;
        if (writtenBytes - this.#facts.receivedBytes >= flushBytes) await confirm();
      }
      await confirm();
    } catch (error) {
      if (asLegacyGpuError(error).code === "body_too_large") {
        await this.#rewind(startBytes);
      } else {
        await confirm();
        // The connection may have broken behind the last byte.
        await this.#finish();
      }
      throw error;
    } finally {
      await file.close();
    }
  }

  /** @throws `digest_mismatch` */
  async #finish(): Promise<void> {
    const { id, state, sha256, sizeBytes, receivedBytes } = this.#facts;
    if (state === "complete" || receivedBytes < sizeBytes) return;
    const actual = sha256 === null ? null : await this.#parts.folder.sha256(id);
    if (actual === sha256) return this.#change({ state: "complete" });
    await this.#rewind(0);
    const message = `Announced was sha256:${sha256}, received was sha256:${actual}; upload ${id} begins again.`;
    throw fail("digest_mismatch", message, {
      announced: `sha256:${sha256}`,
      actual: `sha256:${actual}`,
      offset: 0,
    });
  }

  async #rewind(receivedBytes: number): Promise<void> {
    if (receivedBytes !== this.#facts.receivedBytes) await this.#change({ receivedBytes });
    await this.#parts.folder.truncate(this.#facts.id, receivedBytes);
  }

  // Facts

  async #noteUse(): Promise<void> {
    const nowMs = this.#parts.clock.now();
    const { isUsed, touchedAtMs } = this.#facts;
    if (isUsed && nowMs - touchedAtMs < USE_GRAIN_MS) return;
    await this.#change({ isUsed: true, touchedAtMs: nowMs });
  }

  /** Nobody sees a change before it is on disk. */
  #change(changes: Partial<UploadFacts>): Promise<void> {
    return this.#oneByOne(async () => {
      this.#assertPresent();
      const changed: UploadFacts = { ...this.#facts, ...changes };
      await this.#parts.folder.save(changed);
      this.#facts = changed;
    });
  }

  #oneByOne(write: () => Promise<void>): Promise<void> {
    const written = this.#writing.then(write, write);
    this.#writing = written;
    return written;
  }

  #assertPresent(): void {
    if (this.state === "removed") {
      throw fail("upload_not_found", `Upload ${this.#facts.id} was removed.`);
    }
  }

  #offsetWrong(what: string): LegacyGpuError {
    const { id, receivedBytes } = this.#facts;
    const message = `${what}; upload ${id} goes on at byte ${receivedBytes}.`;
    return fail("upload_offset_wrong", message, { offset: receivedBytes });
  }

  #tooLong(offset: number): LegacyGpuError {
    const { id, sizeBytes } = this.#facts;
    const limitBytes = sizeBytes - offset;
    const message = `The part is longer than the ${limitBytes} bytes that upload ${id} of ${sizeBytes} bytes still lacks.`;
    return fail("body_too_large", message, { limitBytes, offset });
  }
}
