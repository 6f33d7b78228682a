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
const FIRST_SURROGATE = 0xd800;

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

  keys(range: KeyRange): string[] {
    if (range.before === "") return [];
    const read = (): string[] => Array.from(this.database.getKeys(rangeOptions(range)));
    const keys = this.#reading(range.after ?? range.before ?? "", read);
    return this.#held.size === 0 ? keys : this.#withHeld(keys, range);
  }

  entries(range: KeyRange): TableEntry[] {
    if (range.before === "") return [];
    const read = (): TableEntry[] => Array.from(this.database.getRange(rangeOptions(range)));
    const entries = this.#reading(range.after ?? range.before ?? "", read);
    if (this.#held.size === 0) return entries;
    const values = new Map(entries.map(({ key, value }) => [key, value]));
    const bytesOf = (key: string): Buffer => Buffer.from(this.#held.get(key) ?? values.get(key) ?? []);
    return this.#withHeld([...values.keys()], range).map((key) => ({ key, value: bytesOf(key) }));
  }

  /** From now on this is read, until it is let go. */
  hold(key: string, value: Uint8Array): void {
    this.#held.set(key, value);
  }

  /** @param value absent: whatever is held. */
  letGo(key: string, value?: Uint8Array): void {
    if (value === undefined || this.#held.get(key) === value) this.#held.delete(key);
  }

  isHeld(key: string): boolean {
    return this.#held.has(key);
  }

  #withHeld(stored: readonly string[], { after = "", before, order, limit }: KeyRange): string[] {
    const keys = new Set(stored);
    for (const key of this.#held.keys())
      if (compareKeys(key, after) > 0 && (before === undefined || compareKeys(key, before) < 0))
        keys.add(key);
    const sorted = [...keys].sort(compareKeys);
    return (order === "rising" ? sorted : sorted.reverse()).slice(0, limit);
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

/** As LMDB does, by UTF-8 bytes: only surrogates sort otherwise in JavaScript. */
function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i += 1) {
    const difference = a.charCodeAt(i) - b.charCodeAt(i);
    if (difference === 0) continue;
    const isPlain = a.charCodeAt(i) < FIRST_SURROGATE && b.charCodeAt(i) < FIRST_SURROGATE;
    return isPlain ? difference : Buffer.compare(Buffer.from(a), Buffer.from(b));
  }
  return a.length - b.length;
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
