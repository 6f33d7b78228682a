/** A table of an environment: bytes under text keys, read at once from memory that the disk is mapped into. */

import { fail } from "@legacygpu/shared/errors";
import type { Database, RangeOptions } from "lmdb";
import { printable } from "./sealed.ts";

/** @param value absent: the key is removed. */
export interface Write {
  readonly table: Table;
  readonly key: string;
  readonly value?: Uint8Array;
}

export interface KeyRange {
  /** Not included. */
  readonly after?: string | undefined;
  /** Not included. */
  readonly before?: string | undefined;
  readonly order: "rising" | "falling";
  readonly limit: number;
}

export interface TableEntry {
  readonly key: string;
  readonly value: Buffer;
}

interface TableStats {
  readonly entryCount: number;
  readonly pageSize: number;
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

/** Sorts before every key that there is. */
const FIRST_KEY = "\0";

/**
 * Keys are compared as UTF-8 bytes, which for ids is the order of JavaScript's `<`. Ranges are read all at once, so that no cursor stays open
 * while others write. Reading throws `store_corrupt`.
 */
export class Table {
  readonly name: string;
  readonly database: Database<Buffer, string>;
  /** Values that are read before they are on disk. */
  readonly #held = new Map<string, Uint8Array>();

  constructor(name: string, database: Database<Buffer, string>) {
    this.name = name;
    this.database = database;
  }

  get(key: string): Uint8Array | undefined {
    const held = this.#held.size === 0 ? undefined : this.#held.get(key);
    return held ?? this.#reading(key, () => this.database.get(key));
  }

  has(key: string): boolean {
    if (this.#held.size > 0 && this.#held.has(key)) return true;
    return this.#reading(key, () => this.database.doesExist(key));
  }

  get count(): number {
    return this.#stats().entryCount;
  }

  /** Of its pages, full or not. */
  get sizeBytes(): number {
    const { pageSize, treeBranchPageCount, treeLeafPageCount, overflowPages } = this.#stats();
    return (treeBranchPageCount + treeLeafPageCount + overflowPages) * pageSize;
  }

  /** Without what is held. */
  keys(range: KeyRange): string[] {
    if (range.before === "") return [];
    return this.#reading(range.after ?? range.before ?? "", () =>
      Array.from(this.database.getKeys(rangeOptions(range))),
    );
  }

  /** Without what is held. */
  entries(range: KeyRange): TableEntry[] {
    if (range.before === "") return [];
    return this.#reading(range.after ?? range.before ?? "", () =>
      Array.from(this.database.getRange(rangeOptions(range))),
    );
  }

  /** From now on this is read, until it is let go. */
  hold(key: string, value: Uint8Array): void {
    this.#held.set(key, value);
  }

  /** @param value absent: whatever is held. */
  letGo(key: string, value?: Uint8Array): void {
    if (value === undefined || this.#held.get(key) === value) this.#held.delete(key);
  }

  get heldKeys(): Iterable<string> {
    return this.#held.keys();
  }

  #stats(): TableStats {
    return this.#reading("", () => this.database.getStats() as TableStats);
  }

  #reading<Result>(key: string, read: () => Result): Result {
    try {
      return read();
    } catch (error) {
      const where = printable(`${this.name}/${key}`);
      throw fail("store_corrupt", `The store cannot be read at ${where}.`, { key: where }, error);
    }
  }
}

function rangeOptions({ after, before, order, limit }: KeyRange): RangeOptions {
  const isFalling = order === "falling";
  const first = after === undefined || after === "" ? FIRST_KEY : after;
  if (isFalling)
    return before === undefined
      ? { limit, reverse: true, end: first }
      : { limit, reverse: true, end: first, start: before, exclusiveStart: true };
  const start = { limit, start: first, exclusiveStart: true };
  return before === undefined ? start : { ...start, end: before };
}
