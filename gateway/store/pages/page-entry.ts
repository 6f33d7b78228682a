/** One node of a page in a store's file: sizes and flags, then the key, then the value or where it is. */

import { PAGE_HEADER_BYTES, type PageFile, readU64 } from "./page-file.ts";

const NODE_HEADER_BYTES = 8;
const REFERENCE_BYTES = 24;
const IN_OVERFLOW_PAGES = 1;
const IS_TREE = 2;
const OVERFLOW = 4;

/** In place: valid until the next node or page is read. */
export class PageEntry {
  page: Buffer = Buffer.alloc(0);
  keyStart = 0;
  keyEnd = 0;
  sizeBytes = 0;
  /** Pages of its own that hold the value; 0: it is in the page itself. */
  overflowPages = 0;
  overflowPage = 0;
  /** Where the node ends in its page. */
  end = 0;
  readonly #file: PageFile;
  readonly #header = Buffer.alloc(PAGE_HEADER_BYTES);

  constructor(file: PageFile) {
    this.#file = file;
  }

  get key(): string {
    return this.page.toString("utf8", this.keyStart, this.keyEnd);
  }

  /** The nth node of a leaf page; false when it is malformed. */
  readLeaf(n: number, kind: "value" | "tree"): boolean {
    const node = this.#begin(n);
    if (node === undefined) return false;
    const { page } = this;
    const flags = page.readUInt16LE(node + 4);
    this.sizeBytes = page.readUInt16LE(node) + page.readUInt16LE(node + 2) * 2 ** 16;
    this.overflowPages = 0;
    this.end = this.keyEnd + (flags === IN_OVERFLOW_PAGES ? REFERENCE_BYTES : this.sizeBytes);
    if (this.keyStart === this.keyEnd || this.end > page.length) return false;
    return flags === IN_OVERFLOW_PAGES ? this.#readReference() : flags === (kind === "tree" ? IS_TREE : 0);
  }

  /** The nth node of a branch page: the page below; undefined when it is malformed. */
  readBranch(n: number): number | undefined {
    const node = this.#begin(n);
    if (node === undefined) return undefined;
    this.end = this.keyEnd;
    const { page } = this;
    return (
      page.readUInt16LE(node) + page.readUInt16LE(node + 2) * 2 ** 16 + page.readUInt16LE(node + 4) * 2 ** 32
    );
  }

  /** Of the node in its page, as LMDB rounds it. */
  get nodeBytes(): number {
    const bytes = this.end - this.keyStart + NODE_HEADER_BYTES;
    return bytes + (bytes & 1);
  }

  /** A view, or a copy when it is in pages of its own. @throws when those are not what they should be */
  value(): Buffer {
    const { bytes, start, end } = this.locate();
    return bytes.subarray(start, end);
  }

  /** Where the value is in memory. @throws as {@link value} */
  locate(): { readonly bytes: Buffer; readonly start: number; readonly end: number } {
    if (this.overflowPages === 0) return { bytes: this.page, start: this.keyEnd, end: this.end };
    const bytes = Buffer.allocUnsafe(PAGE_HEADER_BYTES + this.sizeBytes);
    this.#file.read(this.overflowPage, bytes);
    if (!this.#isOverflow(bytes)) throw new Error(`page ${this.overflowPage} does not hold its value`);
    return { bytes, start: PAGE_HEADER_BYTES, end: bytes.length };
  }

  /** Whether the pages of its own are what they should be; LMDB relies on their header when it frees them. */
  hasSoundOverflow(): boolean {
    if (this.overflowPages === 0) return true;
    this.#file.read(this.overflowPage, this.#header);
    return this.#isOverflow(this.#header);
  }

  #isOverflow(header: Buffer): boolean {
    return (
      readU64(header, 0) === this.overflowPage &&
      readU64(header, 8) <= this.#file.transaction &&
      header.readUInt16LE(18) === OVERFLOW &&
      header.readUInt32LE(20) === this.overflowPages
    );
  }

  #begin(n: number): number | undefined {
    const { page } = this;
    const pointer = PAGE_HEADER_BYTES + 2 * n;
    if (pointer + 2 > page.length) return undefined;
    const node = PAGE_HEADER_BYTES + page.readUInt16LE(pointer);
    this.keyStart = node + NODE_HEADER_BYTES;
    if (this.keyStart > page.length) return undefined;
    this.keyEnd = this.keyStart + page.readUInt16LE(node + 6);
    return this.keyEnd > page.length ? undefined : node;
  }

  #readReference(): boolean {
    const { page, keyEnd, sizeBytes } = this;
    this.overflowPage = readU64(page, keyEnd);
    this.overflowPages = readU64(page, keyEnd + 16);
    return (
      this.overflowPages === Math.floor((PAGE_HEADER_BYTES - 1 + sizeBytes) / this.#file.pageBytes) + 1 &&
      readU64(page, keyEnd + 8) <= this.#file.transaction
    );
  }
}
