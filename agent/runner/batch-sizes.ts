/** How many rows of a model one runner process is given at a time: what the manifest allows, less what turned out to be too many. */

import type { Logger } from "@legacygpu/shared/log";
import type { LocalModel } from "./job.ts";

export class BatchSizes {
  readonly #log: Logger;
  readonly #learned = new Map<string, number>();
  /** What was known before a batch ended a process. */
  readonly #before = new Map<string, number | undefined>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** 1: its tasks are not joined. */
  of({ key, manifest }: LocalModel): number {
    const allowed = manifest.batching?.max_size ?? 1;
    return Math.min(allowed, this.#learned.get(key) ?? allowed);
  }

  /** Undefined: the manifest alone decides. */
  learned(modelKey: string): number | undefined {
    return this.#learned.get(modelKey);
  }

  /** The process itself says that it is given no more than this from now on. */
  learn(modelKey: string, maxRows: number, reason: string): void {
    this.#limit(modelKey, maxRows, reason);
    this.#before.delete(modelKey);
  }

  /** A batch of so many rows ended its process. The next ones are half as large, unless one of its tasks does it alone, too. */
  ended(modelKey: string, rows: number, reason: string): void {
    if (!this.#before.has(modelKey)) this.#before.set(modelKey, this.#learned.get(modelKey));
    this.#limit(modelKey, Math.max(1, Math.floor(rows / 2)), reason);
  }

  /** A task of the model ended its process alone: its batch was not too large. */
  acquit(modelKey: string): void {
    if (!this.#before.has(modelKey)) return;
    const before = this.#before.get(modelKey);
    this.#before.delete(modelKey);
    if (before === undefined) this.#learned.delete(modelKey);
    else this.#learned.set(modelKey, before);
  }

  #limit(modelKey: string, maxRows: number, reason: string): void {
    this.#learned.set(modelKey, maxRows);
    const what = maxRows > 1 ? "a model is run in smaller batches" : "a model is not run in batches any more";
    this.#log.warn({ model: modelKey, maxRows, reason }, what);
  }
}
