/**
 * The audit log on disk: appended, never changed, each entry chained to the one before.
 *
 * Entries are written together a moment after they are told, and flushed; what cannot be written waits and is tried again, up to a bound.
 */

import type { FileHandle } from "node:fs/promises";
import type { AuditEntry, AuditFilter, AuditPage, AuditVerification } from "@legacygpu/shared/api/audit";
import { type Clock, every, type Timer } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import { AuditFiles } from "./audit-files.ts";
import type { AuditEvent, AuditLog } from "./audit-log.ts";
import { BEGINNING, type ChainEnd, readLine, toLine } from "./chain.ts";
import { Thinning } from "./thinning.ts";

const WRITE_EVERY_MS = 100;
const SUMMARISE_EVERY_MS = 10_000;
const FILE_BYTES = 64 * 1024 * 1024;
/** Entries that wait while the disk cannot be written. */
const MAX_WAITING = 100_000;

export interface AuditJournalOptions {
  readonly folder: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** A new file is begun after so many. Default 64 MiB. */
  readonly fileBytes?: number;
}

interface Waiting {
  readonly event: AuditEvent;
  readonly atMs: number;
}

export class AuditJournal implements AuditLog {
  readonly #options: AuditJournalOptions;
  readonly #files: AuditFiles;
  readonly #thinning = new Thinning();
  readonly #timers: readonly Timer[];
  #waiting: Waiting[] = [];
  #lostCount = 0;
  #end: ChainEnd = BEGINNING;
  /** The file that is being written, or that the last start wrote. */
  #fileName: string | undefined;
  #file: FileHandle | undefined;
  #fileBytes = 0;
  #writing: Promise<void> = Promise.resolve();
  #isFailing = false;

  private constructor(options: AuditJournalOptions) {
    this.#options = options;
    this.#files = new AuditFiles(options.folder);
    const { clock } = options;
    this.#timers = [
      every(clock, WRITE_EVERY_MS, () => void this.flush()),
      every(clock, SUMMARISE_EVERY_MS, () => this.#summarise(clock.now())),
    ];
  }

  /** @throws `audit_corrupt` when the newest entry is not as it was written: nothing could be chained to it. */
  static async open(options: AuditJournalOptions): Promise<AuditJournal> {
    const journal = new AuditJournal(options);
    try {
      await journal.#resume();
    } catch (error) {
      for (const timer of journal.#timers) timer.cancel();
      throw error;
    }
    return journal;
  }

  record(event: AuditEvent): void {
    const atMs = this.#options.clock.now();
    if (this.#thinning.takes(event, atMs)) this.#add(event, atMs);
  }

  /** Newest first. */
  async list({ limit, before, ...wanted }: AuditFilter): Promise<AuditPage> {
    await this.flush();
    const entries: AuditEntry[] = [];
    for await (const line of this.#files.linesBackwards()) {
      const entry = readLine(line);
      if (entry === undefined) throw fail("audit_corrupt", undefined, { beforeSeq: entries.at(-1)?.seq });
      if ((before !== undefined && entry.seq >= before) || !isWanted(entry, wanted)) continue;
      if (entries.length === limit) return { entries, next: entries.at(-1)?.seq ?? null };
      entries.push(entry);
    }
    return { entries, next: null };
  }

  /** Reads everything again. */
  async verify(): Promise<AuditVerification> {
    await this.flush();
    let end = BEGINNING;
    for await (const line of this.#files.lines()) {
      const entry = readLine(line);
      const seq = end.seq + 1;
      const what =
        entry === undefined
          ? "is not as it was written"
          : entry.seq !== seq || entry.previous !== end.hash
            ? `does not follow: entry ${entry.seq} stands where ${seq} belongs`
            : undefined;
      if (entry === undefined || what !== undefined)
        return { is_intact: false, entries: end.seq, head: end.hash, damage: { seq, what: what ?? "" } };
      end = entry;
    }
    // The newest entries may have been cut off while the gateway ran.
    const damage = end.seq < this.#end.seq ? { seq: end.seq + 1, what: "is missing" } : null;
    return { is_intact: damage === null, entries: end.seq, head: end.hash, damage };
  }

  /** Writes what waits. */
  flush(): Promise<void> {
    if (this.#waiting.length > 0) this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) timer.cancel();
    this.#summarise(Number.POSITIVE_INFINITY);
    await this.flush();
    await this.#file?.close();
  }

  async #resume(): Promise<void> {
    const newest = (await this.#files.names()).at(-1);
    if (newest === undefined) return;
    this.#fileName = newest;
    const cutBytes = await this.#files.cutHalfLine(newest);
    for await (const line of this.#files.linesBackwards()) {
      const entry = readLine(line);
      if (entry === undefined) {
        const file = this.#files.pathOf(newest);
        const message = `The newest entry of the audit log in ${file} is not as it was written. Keep the folder for whoever looks into it, move it away, and start again.`;
        throw fail("audit_corrupt", message, { file });
      }
      this.#end = entry;
      break;
    }
    if (cutBytes > 0) this.record({ action: "audit.recover", actor: "gateway", details: { cutBytes } });
  }

  #add(event: AuditEvent, atMs: number): void {
    if (this.#waiting.length < MAX_WAITING) this.#waiting.push({ event, atMs });
    else this.#lostCount += 1;
  }

  #summarise(nowMs: number): void {
    for (const event of this.#thinning.summaries(nowMs)) this.#add(event, this.#options.clock.now());
    if (this.#lostCount === 0 || this.#waiting.length >= MAX_WAITING) return;
    this.#add(
      { action: "audit.lost", actor: "gateway", outcome: "failed", details: { entries: this.#lostCount } },
      this.#options.clock.now(),
    );
    this.#lostCount = 0;
  }

  async #write(): Promise<void> {
    const taken = this.#waiting;
    this.#waiting = [];
    let end = this.#end;
    let text = "";
    for (const { event, atMs } of taken) {
      const line = toLine(event, atMs, end);
      text += `${line.text}\n`;
      end = line.end;
    }
    try {
      await this.#append(Buffer.from(text));
      this.#end = end;
      this.#isFailing = false;
    } catch (error) {
      this.#waiting = [...taken, ...this.#waiting];
      if (!this.#isFailing) this.#options.log.error({ err: error }, "the audit log cannot be written");
      this.#isFailing = true;
    }
  }

  async #append(bytes: Buffer): Promise<void> {
    const { fileBytes = FILE_BYTES } = this.#options;
    if (this.#fileBytes >= fileBytes) await this.#endFile();
    const file = await this.#openFile();
    // The try before may have left half of its text.
    if (this.#isFailing) await file.truncate(this.#fileBytes);
    await file.appendFile(bytes);
    await file.sync();
    this.#fileBytes += bytes.length;
  }

  async #openFile(): Promise<FileHandle> {
    if (this.#file !== undefined) return this.#file;
    this.#fileName ??= this.#files.nameFor(this.#end.seq + 1);
    this.#file = await this.#files.append(this.#fileName);
    this.#fileBytes = (await this.#file.stat()).size;
    return this.#file;
  }

  async #endFile(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
    this.#fileName = undefined;
    this.#fileBytes = 0;
  }
}

function isWanted(
  entry: AuditEntry,
  { action, actor, target, outcome }: Omit<AuditFilter, "limit" | "before">,
): boolean {
  return (
    (action === undefined || entry.action === action || entry.action.startsWith(`${action}.`)) &&
    (actor === undefined || entry.actor === actor) &&
    (target === undefined || entry.target === target) &&
    (outcome === undefined || entry.outcome === outcome)
  );
}
