/** Forgets finished tasks, oldest first, when they are too many or too old: in small batches, so that no commit takes long. */

import { type Clock, every, type Timer } from "@legacygpu/shared/clock";
import type { Logger } from "@legacygpu/shared/log";
import type { GroupCommit } from "./group-commit.ts";
import { splitFinishedKey, type TaskTables } from "./task-tables.ts";

const BATCH = 256;
const SWEEP_INTERVAL_MS = 1000;

export interface RetentionLimits {
  /** May be exceeded for about a second. */
  readonly maxFinished: number;
  /** Counted from the end of the task. */
  readonly maxFinishedAgeMs: number;
}

export interface RetentionParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly tables: TaskTables;
  readonly commits: GroupCommit;
}

export class Retention {
  readonly #limits: RetentionLimits;
  readonly #parts: RetentionParts;
  readonly #timer: Timer;
  #finishedCount: number;
  #sweep: Promise<void> | undefined;
  #isClosed = false;

  constructor(limits: RetentionLimits, parts: RetentionParts) {
    this.#limits = limits;
    this.#parts = parts;
    this.#finishedCount = parts.tables.finished.count;
    this.#timer = every(parts.clock, SWEEP_INTERVAL_MS, () => {
      if (this.#sweep === undefined) void this.sweep();
    });
  }

  taskEnded(): void {
    this.#finishedCount += 1;
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

  async #removeDue(): Promise<void> {
    const { tables, commits, log } = this.#parts;
    try {
      for (let due = this.#due(); due.length > 0 && !this.#isClosed; due = this.#due()) {
        await commits.add(
          "other",
          due.flatMap((key) => tables.removal(key)),
        );
        this.#finishedCount -= due.length;
      }
    } catch (error) {
      log.error({ err: error }, "finished tasks could not be removed; it is tried again");
    }
  }

  #due(): string[] {
    const { maxFinished, maxFinishedAgeMs } = this.#limits;
    const excess = this.#finishedCount - maxFinished;
    const latestMs = this.#parts.clock.now() - maxFinishedAgeMs;
    const oldest = this.#parts.tables.finished.keys({ order: "rising", limit: BATCH });
    return oldest.filter((key, i) => i < excess || splitFinishedKey(key).endedAtMs < latestMs);
  }
}
