/**
 * The file of an LMDB environment, page by page, without LMDB.
 *
 * LMDB has no checksums, and its C code trusts what it maps: a wrong page number or length in the file ends the process or, worse, hides
 * records. So the file is read here first, see `page-walk.ts`. The format (data version 2, 64 bits, little-endian):
 *
 * page      its number u64, transaction u64, unused u16, flags u16, then lower u16 and upper u16, or for overflow pages their number u32
 * pages 0, 1  a header each, of the latest transaction and of the one before
 * header    magic u32, version u32, address u64, map size u64, tree of the free pages, tree of the tables, last page u64, transaction u64
 * tree      page size u32, flags u16, depth u16, number of branch, leaf and overflow pages, entries and root, u64 each
 */

import { closeSync, fstatSync, openSync, readSync } from "node:fs";

export const PAGE_HEADER_BYTES = 24;
export const TREE_BYTES = 48;
const META_FLAG = 8;
const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
const HEADER_BYTES = 136;
const MIN_PAGE_BYTES = 256;
const MAX_PAGE_BYTES = 65_536;
const FREE_TREE_OFFSET = 24;
const MAIN_TREE_OFFSET = FREE_TREE_OFFSET + TREE_BYTES;
const LAST_PAGE_OFFSET = MAIN_TREE_OFFSET + TREE_BYTES;
const TRANSACTION_OFFSET = LAST_PAGE_OFFSET + 8;
const MAX_MAP_BYTES = 2 ** 47;
const MAX_PAGES = MAX_MAP_BYTES / MIN_PAGE_BYTES;
/** Where the second header is looked for when the first one cannot be read. */
const FALLBACK_PAGE_BYTES = 4096;

/** What a tree says of itself. */
export interface Tree {
  readonly flags: number;
  readonly depth: number;
  readonly branchPages: number;
  readonly leafPages: number;
  readonly overflowPages: number;
  readonly entries: number;
  /** Undefined: it is empty. */
  readonly root: number | undefined;
}

interface Header {
  readonly transaction: number;
  readonly pageBytes: number;
  readonly mapBytes: number;
  readonly lastPage: number;
  readonly free: Tree;
  readonly main: Tree;
}

export class PageFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly pageBytes: number;
  readonly transaction: number;
  readonly lastPage: number;
  readonly free: Tree;
  readonly main: Tree;
  readonly #file: number;

  private constructor(path: string, file: number, sizeBytes: number, header: Header) {
    this.path = path;
    this.#file = file;
    this.sizeBytes = sizeBytes;
    this.pageBytes = header.pageBytes;
    this.transaction = header.transaction;
    this.lastPage = header.lastPage;
    this.free = header.free;
    this.main = header.main;
  }

  /**
   * Undefined when there is no file, or an empty one, or none that can be read.
   * @param onDamage told of what is wrong with the headers. Throw to stop.
   */
  static open(path: string, onDamage: (what: string) => void): PageFile | undefined {
    const file = openIfThere(path);
    if (file === undefined) return undefined;
    try {
      const { size } = fstatSync(file);
      const header = size === 0 ? undefined : latestHeader(file, size, onDamage);
      if (header !== undefined) return new PageFile(path, file, size, header);
      closeSync(file);
      return undefined;
    } catch (error) {
      closeSync(file);
      throw error;
    }
  }

  /** Fills `into` from the beginning of the page on. */
  read(page: number, into: Buffer): void {
    for (let done = 0; done < into.length; ) {
      const count = readSync(this.#file, into, done, into.length - done, page * this.pageBytes + done);
      if (count === 0) throw new Error(`page ${page} is cut off`);
      done += count;
    }
  }

  /** Whether all bytes of these pages are in the file. */
  has(page: number, count = 1): boolean {
    return (
      page >= 2 && page + count - 1 <= this.lastPage && (page + count) * this.pageBytes <= this.sizeBytes
    );
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** A whole number; one that no file of ours can have becomes `Infinity`, and so fails every bound. */
export function readU64(bytes: Buffer, offset: number): number {
  const high = bytes.readUInt32LE(offset + 4);
  return high < 2 ** 20 ? high * 2 ** 32 + bytes.readUInt32LE(offset) : Number.POSITIVE_INFINITY;
}

export function readTree(bytes: Buffer, offset: number): Tree {
  const isEmpty =
    bytes.readUInt32LE(offset + 40) === 0xffffffff && bytes.readUInt32LE(offset + 44) === 0xffffffff;
  return {
    flags: bytes.readUInt16LE(offset + 4),
    depth: bytes.readUInt16LE(offset + 6),
    branchPages: readU64(bytes, offset + 8),
    leafPages: readU64(bytes, offset + 16),
    overflowPages: readU64(bytes, offset + 24),
    entries: readU64(bytes, offset + 32),
    root: isEmpty ? undefined : readU64(bytes, offset + 40),
  };
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * The two follow each other, and every transaction writes the first page of the list of tables anew: were one header damaged, LMDB could take the
 * older one and forget the last commit.
 */
function latestHeader(file: number, sizeBytes: number, onDamage: (what: string) => void): Header | undefined {
  const first = readHeader(file, 0, 0, onDamage);
  const second = readHeader(file, 1, first?.pageBytes ?? FALLBACK_PAGE_BYTES, onDamage);
  if (first === undefined || second === undefined) return first ?? second;
  const [older, latest] = first.transaction > second.transaction ? [second, first] : [first, second];
  if (older.pageBytes !== latest.pageBytes || older.free.flags !== latest.free.flags)
    onDamage("its two headers differ");
  if (latest.main.flags !== 0) onDamage(`its list of tables has the flags ${latest.main.flags}`);
  if (latest.mapBytes < sizeOf(latest) || latest.mapBytes > MAX_MAP_BYTES)
    onDamage(`its header names a map of ${latest.mapBytes} bytes`);
  if (sizeBytes < (rootOf(latest) + 1) * latest.pageBytes)
    onDamage(`it was cut off after ${sizeBytes} bytes`);
  if (isUnused(older)) return latest;
  if (latest.transaction - older.transaction === 1 && ownsItsRoot(file, latest)) return latest;
  onDamage(
    `its headers are of ${older.transaction} and ${latest.transaction}, which do not follow each other`,
  );
  return ownsItsRoot(file, latest) || !ownsItsRoot(file, older) ? latest : older;
}

function ownsItsRoot(file: number, header: Header): boolean {
  const page = Buffer.alloc(PAGE_HEADER_BYTES);
  readSync(file, page, 0, page.length, rootOf(header) * header.pageBytes);
  return readU64(page, 8) === header.transaction;
}

/** The first page of the list of tables; one that cannot be it becomes that of the second header. */
function rootOf({ main, lastPage }: Header): number {
  const { root = 1 } = main;
  return root <= Math.min(lastPage, MAX_PAGES) ? root : 1;
}

const sizeOf = ({ lastPage, pageBytes }: Header): number => (lastPage + 1) * pageBytes;

/** As LMDB makes it: nothing has been written into its place yet. */
const isUnused = ({ transaction, main }: Header): boolean => transaction === 0 && main.root === undefined;

function readHeader(
  file: number,
  slot: number,
  offset: number,
  onDamage: (what: string) => void,
): Header | undefined {
  const bytes = Buffer.alloc(PAGE_HEADER_BYTES + HEADER_BYTES);
  const isComplete = readSync(file, bytes, 0, bytes.length, offset) === bytes.length;
  const what = isComplete ? faultOf(bytes, slot) : `it was cut off after ${fstatSync(file).size} bytes`;
  if (what !== undefined) {
    onDamage(what);
    return undefined;
  }
  const header = bytes.subarray(PAGE_HEADER_BYTES);
  return {
    transaction: readU64(header, TRANSACTION_OFFSET),
    pageBytes: header.readUInt32LE(FREE_TREE_OFFSET),
    mapBytes: readU64(header, 16),
    lastPage: readU64(header, LAST_PAGE_OFFSET),
    free: readTree(header, FREE_TREE_OFFSET),
    main: readTree(header, MAIN_TREE_OFFSET),
  };
}

function faultOf(bytes: Buffer, slot: number): string | undefined {
  const header = bytes.subarray(PAGE_HEADER_BYTES);
  if (bytes.readUInt16LE(18) !== META_FLAG || header.readUInt32LE(0) !== MAGIC)
    return `its header ${slot} is not that of a store`;
  const version = header.readUInt32LE(4);
  if (version !== DATA_VERSION) return `its data version is ${version}, expected ${DATA_VERSION}`;
  const pageBytes = header.readUInt32LE(FREE_TREE_OFFSET);
  if (pageBytes < MIN_PAGE_BYTES || pageBytes > MAX_PAGE_BYTES || (pageBytes & (pageBytes - 1)) !== 0)
    return `its page size is ${pageBytes}`;
  const transaction = readU64(header, TRANSACTION_OFFSET);
  if (transaction % 2 !== slot && transaction !== 0)
    return `its header ${slot} is of transaction ${transaction}`;
  return undefined;
}
