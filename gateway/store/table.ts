/** A table of an environment: bytes under text keys, read at once from memory that the disk is mapped into. */

import { fail } from "@legacygpu/shared/errors";
import type { Database, RangeOptions } from "lmdb";

/** @param value absent: the key is removed. */
export interface Write {
  readonly table: Table;
  readonly key: string;
  readonly value?: Uint8Array;
}

export interface KeyRange {
  /** Not included. */
  readonly after?: string;
  /** Not included. */
  readonly before?: string;
  readonly order: "rising" | "falling";
  readonly limit?: number;
}

/** Keys are compared as UTF-8 bytes, which for ids is the order of JavaScript's `<`. Reading throws `store_corrupt`. */
export class Table {
  readonly name: string;
  readonly database: Database<Buffer, Buffer>;

  constructor(name: string, database: Database<Buffer, Buffer>) {
    this.name = name;
    this.database = database;
  }

  get(key: string): Buffer | undefined {
    return this.#reading(key, () => this.database.get(Buffer.from(key)));
  }

  has(key: string): boolean {
    return this.#reading(key, () => this.database.doesExist(Buffer.from(key)));
  }

  get count(): number {
    return (this.database.getStats() as { entryCount: number }).entryCount;
  }

  /** All at once, so that no cursor stays open while others write; give a `limit` where there may be many. */
  keys(range: KeyRange): string[] {
    const keys = (): string[] => Array.from(this.database.getKeys(rangeOptions(range)), String);
    return this.#reading(range.after ?? range.before ?? "", keys);
  }

  #reading<Result>(key: string, read: () => Result): Result {
    try {
      return read();
    } catch (error) {
      const where = `${this.name}/${key}`;
      throw fail("store_corrupt", `The store cannot be read at ${where}.`, { key: where }, error);
    }
  }
}

function rangeOptions({ after, before, order, limit }: KeyRange): RangeOptions {
  const isFalling = order === "falling";
  const [start, end] = isFalling ? [before, after] : [after, before];
  return {
    reverse: isFalling,
    ...(start === undefined ? {} : { start: Buffer.from(start), exclusiveStart: true }),
    ...(end === undefined ? {} : { end: Buffer.from(end) }),
    ...(limit === undefined ? {} : { limit }),
  };
}
