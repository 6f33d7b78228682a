/**
 * The room that the cached files may take: a budget in bytes, a reserve of the disk that is never touched, and the files that were used
 * longest ago as the first to go.
 *
 * What is in use never goes. When room cannot be had without it, nothing is evicted at all and the download is refused.
 */

import { readdir, readFile, rm, stat, statfs as statfsOf } from "node:fs/promises";
import { join } from "node:path";
import type { Clock, Timer } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { writeFileAtomic } from "@legacygpu/shared/files";
import type { Logger } from "@legacygpu/shared/log";
import { z } from "zod";

export interface DiskSpace {
  readonly freeBytes: number;
  readonly totalBytes: number;
}

export interface CacheRoomOptions {
  /** Of the cached files. It must exist. */
  readonly directory: string;
  /** Where the last use of each is kept over restarts. */
  readonly usageFile: string;
  /** Default: four fifths of what is free or taken by the cache at the start. */
  readonly maxBytes?: number | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly diskSpace?: (directory: string) => Promise<DiskSpace>;
  /** Whether a file must stay. */
  isInUse(fileName: string): boolean;
  onEvicted(fileName: string): void;
}

/** Room that a download has; to be released when it is over, however it ends. */
export interface Booking {
  release(): Promise<void>;
}

interface Entry {
  readonly sizeBytes: number;
  /** Wall clock: it is compared over restarts. */
  usedAtMs: number;
}

export const PART_ENDING = ".part";
const DEFAULT_SHARE = 0.8;
/** Left free for everything else on the disk. */
const MAX_RESERVE_BYTES = 512 * 1024 ** 2;
const RESERVE_SHARE = 0.05;
/** What was used in the last seconds before a crash may be taken for older than it is. */
const SAVE_DELAY_MS = 5000;

const usageSchema = z.record(z.string(), z.number());

export class CacheRoom {
  readonly #options: CacheRoomOptions;
  readonly #entries = new Map<string, Entry>();
  /** Whole sizes of the files that are being downloaded. */
  readonly #booked = new Map<string, number>();
  #maxBytes = 0;
  #turn: Promise<unknown> = Promise.resolve();
  #saving: Promise<void> = Promise.resolve();
  #saveTimer: Timer | undefined;

  private constructor(options: CacheRoomOptions) {
    this.#options = options;
  }

  static async open(options: CacheRoomOptions): Promise<CacheRoom> {
    const room = new CacheRoom(options);
    await room.#readEntries();
    const { freeBytes } = await room.#diskSpace();
    room.#maxBytes = options.maxBytes ?? Math.floor(DEFAULT_SHARE * (freeBytes + room.usedBytes));
    return room;
  }

  get maxBytes(): number {
    return this.#maxBytes;
  }

  /** Downloads count as if they were whole. */
  get usedBytes(): number {
    let bytes = 0;
    for (const { sizeBytes } of this.#entries.values()) bytes += sizeBytes;
    for (const sizeBytes of this.#booked.values()) bytes += sizeBytes;
    return bytes;
  }

  used(fileName: string): void {
    const entry = this.#entries.get(fileName);
    if (entry === undefined) return;
    entry.usedAtMs = this.#options.clock.now();
    this.#saveSoon();
  }

  /**
   * Makes room for a file that is about to be downloaded, by evicting others when it must.
   *
   * @throws `disk_full` when there is not enough without what is in use; nothing was evicted then.
   */
  book(fileName: string, sizeBytes: number): Promise<Booking> {
    const booking = this.#turn.then(() => this.#book(fileName, sizeBytes));
    this.#turn = booking.catch(() => {});
    return booking;
  }

  async close(): Promise<void> {
    this.#saveTimer?.cancel();
    this.#saveTimer = undefined;
    this.#save();
    await this.#saving;
  }

  async #book(fileName: string, sizeBytes: number): Promise<Booking> {
    this.#entries.delete(fileName + PART_ENDING);
    try {
      await this.#makeRoom(fileName, sizeBytes);
    } catch (error) {
      await this.#noteFiles(fileName);
      throw error;
    }
    this.#booked.set(fileName, sizeBytes);
    return {
      release: async () => {
        this.#booked.delete(fileName);
        await this.#noteFiles(fileName);
      },
    };
  }

  async #makeRoom(fileName: string, sizeBytes: number): Promise<void> {
    const { freeBytes, totalBytes } = await this.#diskSpace();
    const reserveBytes = Math.min(MAX_RESERVE_BYTES, Math.floor(totalBytes * RESERVE_SHARE));
    const toComeBytes = (await this.#missingBytes(fileName, sizeBytes)) + (await this.#expectedBytes());
    const overBudgetBytes = this.usedBytes + sizeBytes - this.#maxBytes;
    const overDiskBytes = toComeBytes + reserveBytes - freeBytes;
    const victims = this.#victims(Math.max(overBudgetBytes, overDiskBytes), fileName);
    if (victims === undefined) {
      const details = { sizeBytes, freeBytes, reserveBytes, maxBytes: this.#maxBytes };
      throw fail("disk_full", this.#refusal(overDiskBytes > 0, details), {
        directory: this.#options.directory,
        ...details,
      });
    }
    for (const victim of victims) await this.#evict(victim);
  }

  #refusal(
    isDiskFull: boolean,
    sizes: { sizeBytes: number; freeBytes: number; reserveBytes: number; maxBytes: number },
  ): string {
    const { directory } = this.#options;
    const rest = "and the models in use cannot be removed";
    return isDiskFull
      ? `A model file of ${sizes.sizeBytes} bytes does not fit on the disk of ${directory}: ${sizes.freeBytes} bytes are free, ` +
          `of which ${sizes.reserveBytes} are kept in reserve, ${rest}.`
      : `A model file of ${sizes.sizeBytes} bytes does not fit into the model cache of ${sizes.maxBytes} bytes, ${rest}.`;
  }

  /** The files to evict for so many bytes, oldest first; undefined when there are not enough. */
  #victims(neededBytes: number, fileName: string): string[] | undefined {
    const victims: string[] = [];
    let leftBytes = neededBytes;
    const oldestFirst = [...this.#entries].sort(([, a], [, b]) => a.usedAtMs - b.usedAtMs);
    for (const [name, { sizeBytes }] of oldestFirst) {
      if (leftBytes <= 0) break;
      if (name === fileName || this.#options.isInUse(name)) continue;
      victims.push(name);
      leftBytes -= sizeBytes;
    }
    return leftBytes <= 0 ? victims : undefined;
  }

  async #evict(fileName: string): Promise<void> {
    this.#entries.delete(fileName);
    await rm(join(this.#options.directory, fileName), { force: true });
    this.#options.log.info({ fileName }, "a model file was removed from the cache to make room");
    this.#options.onEvicted(fileName);
    this.#saveSoon();
  }

  /** Of the downloads that are under way. */
  async #expectedBytes(): Promise<number> {
    let bytes = 0;
    for (const [fileName, sizeBytes] of this.#booked) bytes += await this.#missingBytes(fileName, sizeBytes);
    return bytes;
  }

  async #missingBytes(fileName: string, sizeBytes: number): Promise<number> {
    const part = await stat(join(this.#options.directory, fileName + PART_ENDING)).catch(() => undefined);
    return Math.max(0, sizeBytes - (part?.size ?? 0));
  }

  /** What a download has left behind: the file, or a part of it. */
  async #noteFiles(fileName: string): Promise<void> {
    for (const name of [fileName, fileName + PART_ENDING]) {
      const found = await stat(join(this.#options.directory, name)).catch(() => undefined);
      if (found === undefined) this.#entries.delete(name);
      else this.#entries.set(name, { sizeBytes: found.size, usedAtMs: this.#options.clock.now() });
    }
    this.#saveSoon();
  }

  #diskSpace(): Promise<DiskSpace> {
    const { directory, diskSpace = statDisk } = this.#options;
    return diskSpace(directory);
  }

  async #readEntries(): Promise<void> {
    const { directory } = this.#options;
    const usage = await this.#readUsage();
    for (const name of await readdir(directory)) {
      const found = await stat(join(directory, name)).catch(() => undefined);
      if (!found?.isFile()) continue;
      this.#entries.set(name, { sizeBytes: found.size, usedAtMs: usage[name] ?? found.mtimeMs });
    }
  }

  async #readUsage(): Promise<Record<string, number>> {
    const { usageFile, log } = this.#options;
    try {
      return usageSchema.parse(JSON.parse(await readFile(usageFile, "utf8")));
    } catch (error) {
      // Without it the age of the files decides.
      if ((error as { code?: unknown }).code !== "ENOENT")
        log.warn({ err: error }, "the record of the model cache's use cannot be read and is begun anew");
      return {};
    }
  }

  #saveSoon(): void {
    this.#saveTimer ??= this.#options.clock.after(SAVE_DELAY_MS, () => {
      this.#saveTimer = undefined;
      this.#save();
    });
  }

  #save(): void {
    const { usageFile, log } = this.#options;
    const usage: Record<string, number> = {};
    for (const [name, { usedAtMs }] of this.#entries) usage[name] = usedAtMs;
    this.#saving = this.#saving
      .then(() => writeFileAtomic(usageFile, JSON.stringify(usage)))
      .catch((error) => log.warn({ err: error }, "the record of the model cache's use cannot be written"));
  }
}

async function statDisk(directory: string): Promise<DiskSpace> {
  const { bavail, blocks, bsize } = await statfsOf(directory);
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
}
