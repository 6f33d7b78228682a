/**
 * Follows the trees of a store's file from page to page and checks everything that LMDB relies on: that each page is where it says, of the right
 * kind and used once, that nothing points outside, that keys rise and lie between the keys above them, that all counts are right, and that no
 * page in use is also listed as free. After that LMDB can be let at the file; and each entry has been seen on the way.
 */

import { PageEntry } from "./page-entry.ts";
import { PAGE_HEADER_BYTES, type PageFile, readTree, readU64, TREE_BYTES, type Tree } from "./page-file.ts";
import { PageSet } from "./page-set.ts";

const BRANCH = 1;
const LEAF = 2;
const MAX_DEPTH = 32;
const MALFORMED = -1;
/** Names for what is not a table of ours. */
const TABLES = "of tables";
export const FREE_PAGES = "of free pages";

export interface Walker {
  /** Each entry of each table, in the order of the keys. */
  readonly onEntry: (table: string, entry: PageEntry) => void;
  /** What is wrong with the tree of a table; the walk goes on with what can be reached. Throw to stop it. */
  readonly onDamage: (table: string, what: string) => void;
}

type OnEntry = (entry: PageEntry) => void;

/** A key by itself, in memory that is used again. */
interface KeyCopy {
  readonly bytes: Buffer;
  length: number;
}

export class PageWalk {
  /** Pages that belong to a tree and are not what they should be. */
  readonly broken = new Set<number>();
  readonly #file: PageFile;
  readonly #walker: Walker;
  readonly #entry: PageEntry;
  readonly #branchEntry: PageEntry;
  readonly #used: PageSet;
  readonly #free: PageSet;
  /** A page for each level. */
  readonly #buffers: Buffer[] = [];
  readonly #lastKey: KeyCopy;
  /** The lower bound that the branch pages above give. */
  readonly #floor: KeyCopy;
  #table = "";
  #branchPages = 0;
  #leafPages = 0;
  #overflowPages = 0;
  #entries = 0;

  constructor(file: PageFile, walker: Walker) {
    this.#file = file;
    this.#walker = walker;
    this.#entry = new PageEntry(file);
    this.#branchEntry = new PageEntry(file);
    this.#used = new PageSet(file.sizeBytes / file.pageBytes);
    this.#free = new PageSet(file.sizeBytes / file.pageBytes);
    this.#lastKey = { bytes: Buffer.alloc(file.pageBytes), length: 0 };
    this.#floor = { bytes: Buffer.alloc(file.pageBytes), length: 0 };
  }

  /** @param first the table that the walk begins with. */
  run(first: string): void {
    const tables = this.#tables();
    for (const name of [first, ...[...tables.keys()].filter((name) => name !== first)]) {
      const tree = tables.get(name);
      if (tree !== undefined) this.#walk(name, tree, (entry) => this.#walker.onEntry(name, entry));
    }
    this.#walk(FREE_PAGES, this.#file.free, (entry) => this.#checkFreePages(entry));
  }

  /** Whether something holds it: a tree, or the list of free pages. */
  isReached(page: number): boolean {
    return this.#used.has(page) || this.#free.has(page);
  }

  /** LMDB ends the names with a zero. */
  #tables(): Map<string, Tree> {
    const tables = new Map<string, Tree>();
    this.#walk(TABLES, this.#file.main, (entry) => {
      const value = entry.value();
      const tree = value.length === TREE_BYTES ? readTree(value, 0) : undefined;
      if (tree === undefined || tree.flags !== 0) this.#damage(`${entry.key} is not a table`);
      else tables.set(entry.key.replace("\0", ""), tree);
    });
    return tables;
  }

  #walk(name: string, tree: Tree, onEntry: OnEntry): void {
    this.#table = name;
    this.#branchPages = this.#leafPages = this.#overflowPages = this.#entries = 0;
    this.#lastKey.length = this.#floor.length = 0;
    if (tree.depth > MAX_DEPTH) this.#damage(`it says that it has ${tree.depth} levels`);
    else if (tree.root !== undefined) this.#page(tree.root, tree.depth, onEntry);
    const isRight =
      tree.branchPages === this.#branchPages &&
      tree.leafPages === this.#leafPages &&
      tree.overflowPages === this.#overflowPages &&
      tree.entries === this.#entries &&
      (tree.root === undefined) === (tree.depth === 0);
    if (!isRight) this.#damage(`${this.#entries} entries are there, and it says that it has ${tree.entries}`);
  }

  /** @param level how many levels are left, this one included. */
  #page(number: number, level: number, onEntry: OnEntry): void {
    const page = this.#load(number, level <= 1 ? LEAF : BRANCH, level);
    if (page === undefined) return;
    const lower = page.readUInt16LE(20);
    const upper = page.readUInt16LE(22);
    const room = this.#file.pageBytes - PAGE_HEADER_BYTES;
    if (lower % 2 !== 0 || lower === 0 || lower > upper || upper > room) {
      this.#breaks(number, "is out of bounds");
      return;
    }
    const isLeaf = level <= 1;
    const bytes = isLeaf
      ? this.#leaf(number, page, lower / 2, onEntry)
      : this.#branch(number, page, lower / 2, level, onEntry);
    if (bytes !== room - upper) this.#breaks(number, "does not add up");
  }

  #load(number: number, kind: number, level: number): Buffer | undefined {
    if (!this.#take(number, 1)) return undefined;
    const page = this.#buffers[level] ?? Buffer.allocUnsafe(this.#file.pageBytes);
    this.#buffers[level] = page;
    this.#file.read(number, page);
    const isRight =
      readU64(page, 0) === number &&
      page.readUInt16LE(18) === kind &&
      readU64(page, 8) <= this.#file.transaction;
    if (isRight) return page;
    this.#breaks(number, "is not the one that it should be");
    return undefined;
  }

  /** Marks pages as used. */
  #take(number: number, count: number): boolean {
    if (!this.#file.has(number, count)) {
      this.#damage(`page ${number} is cut off, or not a page of the file`);
      return false;
    }
    for (let page = number; page < number + count; page += 1) {
      if (this.#used.add(page)) continue;
      this.#damage(`page ${page} is used twice`);
      return false;
    }
    return true;
  }

  #takeOverflow(entry: PageEntry): boolean {
    const { overflowPage, overflowPages } = entry;
    if (overflowPages === 0) return true;
    if (!this.#take(overflowPage, overflowPages)) return false;
    if (!entry.hasSoundOverflow()) this.#breaks(overflowPage, "is not the one that it should be");
    return true;
  }

  /** @returns how many bytes its nodes have, or MALFORMED. */
  #branch(number: number, page: Buffer, count: number, level: number, onEntry: OnEntry): number {
    this.#branchPages += 1;
    let bytes = 0;
    for (let i = 0; i < count; i += 1) {
      const entry = this.#branchEntry;
      entry.page = page;
      const child = entry.readBranch(i);
      if (child === undefined) return MALFORMED;
      bytes += entry.nodeBytes;
      if (i > 0) {
        if (
          this.#compare(this.#lastKey.bytes, 0, this.#lastKey.length, page, entry.keyStart, entry.keyEnd) >= 0
        )
          this.#breaks(number, "is not in order");
        copyKey(entry, this.#floor);
      }
      this.#page(child, level - 1, onEntry);
    }
    return bytes;
  }

  /** @returns how many bytes its nodes have, or MALFORMED. */
  #leaf(number: number, page: Buffer, count: number, onEntry: OnEntry): number {
    this.#leafPages += 1;
    const entry = this.#entry;
    const kind = this.#table === TABLES ? "tree" : "value";
    let bytes = 0;
    let { bytes: last, length: lastEnd } = this.#lastKey;
    let lastStart = 0;
    for (let i = 0; i < count; i += 1) {
      entry.page = page;
      if (!entry.readLeaf(i, kind)) {
        bytes = MALFORMED;
        break;
      }
      const { keyStart, keyEnd } = entry;
      if (
        this.#compare(last, lastStart, lastEnd, page, keyStart, keyEnd) >= 0 ||
        (i === 0 && this.#isBelowFloor())
      )
        this.#breaks(number, "is not in order");
      last = page;
      lastStart = keyStart;
      lastEnd = keyEnd;
      bytes += entry.nodeBytes;
      this.#entries += 1;
      this.#overflowPages += entry.overflowPages;
      if (this.#takeOverflow(entry)) onEntry(entry);
    }
    if (last === page) this.#lastKey.length = page.copy(this.#lastKey.bytes, 0, lastStart, lastEnd);
    return bytes;
  }

  #isBelowFloor(): boolean {
    const { page, keyStart, keyEnd } = this.#entry;
    return this.#compare(page, keyStart, keyEnd, this.#floor.bytes, 0, this.#floor.length) < 0;
  }

  /** The keys of the list of free pages are numbers of transactions, the lowest byte first; all others are compared as bytes. */
  #compare(a: Buffer, aStart: number, aEnd: number, b: Buffer, bStart: number, bEnd: number): number {
    if (this.#table !== FREE_PAGES || aEnd - aStart !== bEnd - bStart)
      return compare(a, aStart, aEnd, b, bStart, bEnd);
    for (let i = aEnd - aStart - 1; i >= 0; i -= 1) {
      const difference = (a[aStart + i] as number) - (b[bStart + i] as number);
      if (difference !== 0) return difference;
    }
    return 0;
  }

  /** A list begins with its length; a negative number is a run of that many pages that begins with the next number; zero is nothing. */
  #checkFreePages(entry: PageEntry): void {
    const list = entry.value();
    const length = list.length < 8 ? Number.POSITIVE_INFINITY : readU64(list, 0);
    if (list.length < 8 * (length + 1)) {
      this.#damage("a list is cut off");
      return;
    }
    for (let i = 1; i <= length; i += 1) {
      const number = Number(list.readBigInt64LE(8 * i));
      if (number > 0) this.#checkFree(number, 1);
      if (number >= 0) continue;
      i += 1;
      this.#checkFree(i > length ? 0 : Number(list.readBigInt64LE(8 * i)), -number);
    }
  }

  #checkFree(number: number, count: number): void {
    if (number < 2 || number + count - 1 > this.#file.lastPage) {
      this.#damage(`page ${number} is not a page of the file`);
      return;
    }
    for (let page = number; page < number + count; page += 1) {
      if (this.#used.has(page)) this.#damage(`page ${page} is in use`);
      this.#free.add(page);
    }
  }

  #breaks(page: number, what: string): void {
    this.broken.add(page);
    this.#damage(`page ${page} ${what}`);
  }

  #damage(what: string): void {
    this.#walker.onDamage(this.#table, what);
  }
}

function copyKey(entry: PageEntry, copy: KeyCopy): void {
  copy.length = entry.page.copy(copy.bytes, 0, entry.keyStart, entry.keyEnd);
}

function compare(a: Buffer, aStart: number, aEnd: number, b: Buffer, bStart: number, bEnd: number): number {
  const length = Math.min(aEnd - aStart, bEnd - bStart);
  for (let i = 0; i < length; i += 1) {
    const difference = (a[aStart + i] as number) - (b[bStart + i] as number);
    if (difference !== 0) return difference;
  }
  return aEnd - aStart - (bEnd - bStart);
}
