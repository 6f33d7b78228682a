/**
 * Removes what need not be kept any more, in small commits: documents and results that have expired, the oldest results when all of them take
 * too much room, and finished tasks that are too many or too old.
 */

import { type Clock, every, type Timer } from "@legacygpu/shared/clock";
import type { TaskId } from "@legacygpu/shared/ids";
import type { Logger } from "@legacygpu/shared/log";
import type { DocumentTables } from "./document-tables.ts";
import type { GroupCommit } from "./group-commit.ts";
import { splitTimeKey, timeKey } from "./index-keys.ts";
import type { Table, Write } from "./table.ts";
import type { TaskChanges } from "./task-changes.ts";
import type { TaskTables } from "./task-tables.ts";

const BATCH = 256;
/** Results can be large: no more go than have to. */
const ROOM_BATCH = 16;
const SWEEP_INTERVAL_MS = 1000;

/** May be exceeded for about a second. */
export interface RetentionLimits {
  readonly maxFinished: number;
  /** Counted from the end of the task. */
  readonly maxFinishedAgeMs: number;
  /** Of the outputs and inputs of finished tasks together. */
  readonly maxStoredBytes: number;
}

export interface RetentionParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly tables: TaskTables;
  readonly documents: DocumentTables;
  readonly commits: GroupCommit;
  readonly changes: TaskChanges;
}

export class Retention {
  readonly #limits: RetentionLimits;
  readonly #parts: RetentionParts;
  readonly #timer: Timer;
  /** Finished tasks up to here have no data any more. */
  #emptyUntil = "";
  #sweep: Promise<void> | undefined;
  #isClosed = false;

  constructor(limits: RetentionLimits, parts: RetentionParts) {
    this.#limits = limits;
    this.#parts = parts;
    this.#timer = every(parts.clock, SWEEP_INTERVAL_MS, () => {
      if (this.#sweep === undefined) void this.sweep();
    });
  }

  /** Looks, after a sweep that is under way, once more; resolves when nothing is due. Never rejects. */
  sweep(): Promise<void> {
    const sweep = (this.#sweep ?? Promise.resolve())
      .then(() => this.#removeDue())
      .finally(() => {
        if (this.#sweep === sweep) this.#sweep = undefined;
      });
    this.#sweep = sweep;
    return sweep;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer.cancel();
    await this.#sweep;
  }

  /** One that fails does not keep the others from their work. */
  async #removeDue(): Promise<void> {
    await this.#repeat("documents that have expired", () => this.#expireDocuments());
    await this.#repeat("results that have expired", () => this.#expireResults());
    await this.#repeat("results beyond the room for them", () => this.#makeRoom());
    await this.#repeat("old tasks", () => this.#forget());
  }

  /** @param step answers whether there may be more to do. */
  async #repeat(what: string, step: () => Promise<boolean>): Promise<void> {
    try {
      while (!this.#isClosed && (await step()));
    } catch (error) {
      this.#parts.log.error({ err: error }, `${what} could not be removed; it is tried again`);
    }
  }

  async #expireDocuments(): Promise<boolean> {
    const { documents, commits } = this.#parts;
    const due = this.#dueKeys(documents.expiry, this.#parts.clock.now());
    if (due.length === 0) return false;
    const writes: Write[] = [];
    for (const key of due) documents.expiration(writes, key);
    await commits.add("other", writes);
    return due.length === BATCH;
  }

  async #expireResults(): Promise<boolean> {
    const { tables, clock } = this.#parts;
    const due = this.#dueKeys(tables.expiring, clock.now());
    await this.#change(due, (writes, id, key) => {
      writes.push({ table: tables.expiring, key });
      if (tables.finishedHeader(id)?.hasOutput) tables.dataRemoval(writes, id, clock.now());
    });
    return due.length === BATCH;
  }

  /** Whether something is over the limit is known from counts of pages, without reading the data. */
  async #makeRoom(): Promise<boolean> {
    const { tables, clock } = this.#parts;
    const { outputs, kept, finished } = tables;
    if (outputs.sizeBytes + kept.sizeBytes <= this.#limits.maxStoredBytes) return false;
    const oldest = finished.keys({ after: this.#emptyUntil, order: "rising", limit: ROOM_BATCH });
    await this.#change(oldest, (writes, id) => {
      const header = tables.finishedHeader(id);
      if (header?.hasInput || header?.hasOutput) tables.dataRemoval(writes, id, clock.now());
    });
    this.#emptyUntil = oldest.at(-1) ?? "";
    return oldest.length > 0;
  }

  async #forget(): Promise<boolean> {
    const { maxFinished, maxFinishedAgeMs } = this.#limits;
    const { tables, clock } = this.#parts;
    const excess = tables.finished.count - maxFinished;
    const latestMs = clock.now() - maxFinishedAgeMs;
    const oldest = tables.finished.keys({ order: "rising", limit: BATCH });
    const due = oldest.filter((key, i) => i < excess || splitTimeKey(key).timeMs < latestMs);
    await this.#change(due, (writes, id, key) => tables.forgetting(writes, id, key));
    return due.length === BATCH;
  }

  #dueKeys(table: Table, nowMs: number): string[] {
    return table.keys({ before: timeKey(nowMs, ""), order: "rising", limit: BATCH });
  }

  /** @param keys of a table in the order of time. */
  async #change(
    keys: readonly string[],
    change: (writes: Write[], id: TaskId, key: string) => void,
  ): Promise<void> {
    const { commits, changes } = this.#parts;
    const idOf = (key: string): TaskId => splitTimeKey(key).rest as TaskId;
    await changes.run(keys.map(idOf), async () => {
      const writes: Write[] = [];
      for (const key of keys) change(writes, idOf(key), key);
      if (writes.length > 0) await commits.add("other", writes);
    });
  }
}
