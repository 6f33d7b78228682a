/**
 * Outcomes that could not be delivered, on the disk, so that a long outage or a killed agent costs no finished work.
 *
 * One file per attempt, whole or absent; one that is damaged is named in the log and removed. When a bound is reached the oldest go. A
 * disk that is full or broken is told once; then outcomes stay in memory, where they were.
 */

import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fail } from "@legacygpu/shared/errors";
import { writeFileAtomic } from "@legacygpu/shared/files";
import type { Logger } from "@legacygpu/shared/log";
import { decodeOutcome, encodeOutcome, type Outcome } from "./outcome.ts";

export interface SpoolOptions {
  readonly directory: string;
  readonly maxBytes: number;
  readonly maxAttempts: number;
  readonly log: Logger;
}

export interface SpooledAttempt {
  readonly taskId: string;
  readonly token: number;
  readonly sizeBytes: number;
}

export interface Stored {
  /** Undefined: it is larger than the whole spool, or the disk refused it. */
  readonly storedBytes: number | undefined;
  /** Tokens of older ones that had to go for it. */
  readonly evicted: readonly number[];
}

const FILE_NAME = /^(\d{1,16})\.outcome$/;
const NOT_STORED: Stored = { storedBytes: undefined, evicted: [] };

export class Spool {
  readonly #options: SpoolOptions;
  /** Oldest first. */
  readonly #spooled = new Map<number, SpooledAttempt>();
  #sizeBytes = 0;
  #health: "sound" | "failing" = "sound";
  /** The disk is asked for one thing at a time, in order: a removal never overtakes the writing of what it removes. */
  #latest: Promise<unknown> = Promise.resolve();

  private constructor(options: SpoolOptions) {
    this.#options = options;
  }

  /** Reads what an earlier start of the agent left. Never rejects: a spool without a folder stores nothing. */
  static async open(options: SpoolOptions): Promise<Spool> {
    const spool = new Spool(options);
    try {
      await spool.#readFolder();
    } catch (error) {
      spool.#noteFailure(error);
    }
    return spool;
  }

  get size(): number {
    return this.#spooled.size;
  }

  /** Oldest first. */
  all(): SpooledAttempt[] {
    return [...this.#spooled.values()];
  }

  /** Never rejects. */
  put(outcome: Outcome): Promise<Stored> {
    return this.#inOrder(async () => {
      try {
        return await this.#write(outcome);
      } catch (error) {
        this.#noteFailure(error);
        return NOT_STORED;
      }
    });
  }

  /** @returns undefined when it is not there or cannot be read any more; never rejects. */
  read(token: number): Promise<Outcome | undefined> {
    return this.#inOrder(async () => {
      const found = this.#spooled.has(token) ? await this.#readFile(token) : undefined;
      return found?.outcome;
    });
  }

  /** Forgets it at once; the file follows. */
  remove(token: number): void {
    if (this.#forget(token)) void this.#inOrder(() => this.#unlink(fileName(token)));
  }

  /** Resolves when everything asked for has been done. */
  async close(): Promise<void> {
    await this.#latest;
  }

  async #readFolder(): Promise<void> {
    const { directory, log } = this.#options;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const names = await readdir(directory);
    // Left by a crash in the middle of a write.
    for (const name of names) if (name.endsWith(".tmp")) await this.#unlink(name);
    const tokens = names.flatMap((name) => FILE_NAME.exec(name)?.[1] ?? []).map(Number);
    // By token: they rise in the order in which attempts were handed out, whatever clocks did.
    for (const token of tokens.sort((a, b) => a - b)) {
      const found = await this.#readFile(token);
      if (found !== undefined) this.#remember(found.outcome, found.sizeBytes);
    }
    for (const token of this.#makeRoom()) await this.#unlink(fileName(token));
    if (this.size === 0) return;
    log.info({ attempts: this.size, bytes: this.#sizeBytes }, "there are undelivered outcomes on the disk");
  }

  async #write(outcome: Outcome): Promise<Stored> {
    const { directory, maxBytes, log } = this.#options;
    const { token } = outcome.message;
    const record = encodeOutcome(outcome);
    if (record.length > maxBytes) {
      log.warn({ token, bytes: record.length, maxBytes }, "an outcome is larger than the spool may be");
      return NOT_STORED;
    }
    await writeFileAtomic(join(directory, fileName(token)), record, { mode: 0o600 });
    this.#health = "sound";
    this.#remember(outcome, record.length);
    const evicted = this.#makeRoom();
    for (const old of evicted) await this.#unlink(fileName(old));
    return { storedBytes: record.length, evicted };
  }

  async #readFile(token: number): Promise<{ outcome: Outcome; sizeBytes: number } | undefined> {
    const file = join(this.#options.directory, fileName(token));
    const { log } = this.#options;
    let record: Uint8Array;
    try {
      const { buffer, byteOffset, length } = await readFile(file);
      record = new Uint8Array(buffer, byteOffset, length);
    } catch (error) {
      log.error({ file, err: error }, "an undelivered outcome cannot be read");
      return undefined;
    }
    try {
      return { outcome: decodeRecord(record, token), sizeBytes: record.length };
    } catch (error) {
      log.error({ file, err: error }, "an undelivered outcome is damaged; it is removed");
      this.#forget(token);
      await this.#unlink(fileName(token));
      return undefined;
    }
  }

  async #unlink(name: string): Promise<void> {
    try {
      await rm(join(this.#options.directory, name), { force: true });
    } catch (error) {
      this.#noteFailure(error);
    }
  }

  #remember({ message: { taskId, token } }: Outcome, sizeBytes: number): void {
    this.#forget(token);
    this.#spooled.set(token, { taskId, token, sizeBytes });
    this.#sizeBytes += sizeBytes;
  }

  #forget(token: number): boolean {
    this.#sizeBytes -= this.#spooled.get(token)?.sizeBytes ?? 0;
    return this.#spooled.delete(token);
  }

  /** Forgets the oldest until the bounds hold. @returns their tokens; the files are still there. */
  #makeRoom(): number[] {
    const { maxBytes, maxAttempts, log } = this.#options;
    const evicted: number[] = [];
    for (const { taskId, token, sizeBytes } of this.#spooled.values()) {
      if (this.#sizeBytes <= maxBytes && this.size <= maxAttempts) break;
      log.warn({ taskId, token, bytes: sizeBytes }, "the spool is full; its oldest outcome is dropped");
      this.#forget(token);
      evicted.push(token);
    }
    return evicted;
  }

  #noteFailure(error: unknown): void {
    const { directory, log } = this.#options;
    if (this.#health === "sound")
      log.error({ err: error, directory }, "undelivered outcomes cannot be stored");
    this.#health = "failing";
  }

  #inOrder<Value>(work: () => Promise<Value>): Promise<Value> {
    const done = this.#latest.then(work);
    this.#latest = done;
    return done;
  }
}

const fileName = (token: number): string => `${token}.outcome`;

function decodeRecord(record: Uint8Array, token: number): Outcome {
  const outcome = decodeOutcome(record);
  if (outcome.message.token !== token) throw fail("internal", "The record is of another attempt.");
  return outcome;
}
