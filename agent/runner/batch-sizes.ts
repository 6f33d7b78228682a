/** How many rows of a model one runner process is given at a time: what the manifest allows, less what turned out to be too many. */

import type { LocalModel } from "./job.ts";

export class BatchSizes {
  readonly #learned = new Map<string, number>();
  /** What was known before a batch ended a process. */
  readonly #before = new Map<string, number | undefined>();

  /** 1: its tasks are not joined. */
  of({ key, manifest }: LocalModel): number {
    const allowed = manifest.batching?.max_size ?? 1;
    return Math.min(allowed, this.#learned.get(key) ?? allowed);
  }

  /** Undefined: the manifest alone decides. */
  learned(modelKey: string): number | undefined {
    return this.#learned.get(modelKey);
  }

  learn(modelKey: string, maxRows: number): void {
    this.#learned.set(modelKey, maxRows);
    this.#before.delete(modelKey);
  }

  /** A batch of so many rows ended its process. The next ones are half as large, unless one of its tasks does it alone, too. */
  ended(modelKey: string, rows: number): number {
    const before = this.#learned.get(modelKey);
    if (!this.#before.has(modelKey)) this.#before.set(modelKey, before);
    const half = Math.max(1, Math.floor(rows / 2));
    this.#learned.set(modelKey, half);
    return half;
  }

  /** A task of the model ended its process alone: its batch was not too large. */
  acquit(modelKey: string): void {
    if (!this.#before.has(modelKey)) return;
    const before = this.#before.get(modelKey);
    this.#before.delete(modelKey);
    if (before === undefined) this.#learned.delete(modelKey);
    else this.#learned.set(modelKey, before);
  }
}
