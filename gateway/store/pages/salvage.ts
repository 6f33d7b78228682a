/**
 * Entries in pages that no tree leads to any more.
 *
 * LMDB accounts for every page: a tree uses it, or it is listed as free. So a page that neither holds was lost with the damaged page above it, and
 * what it says is not old. Whoever takes an entry from here must know by its seal that it is one.
 */

import { PageEntry } from "./page-entry.ts";
import { PAGE_HEADER_BYTES, type PageFile, readU64 } from "./page-file.ts";
import type { PageWalk } from "./page-walk.ts";

const LEAF = 2;

/** @param walk that has been through the whole file. The entries are valid until the next one. */
export function* lostEntries(file: PageFile, walk: PageWalk): Generator<PageEntry> {
  const page = Buffer.allocUnsafe(file.pageBytes);
  for (let number = 2; file.has(number); number += 1) {
    const isBroken = walk.broken.has(number);
    if (!isBroken && walk.isReached(number)) continue;
    file.read(number, page);
    const isLeaf = readU64(page, 0) === number && page.readUInt16LE(18) === LEAF;
    if (isBroken || isLeaf) yield* entriesOf(file, page);
  }
}

function* entriesOf(file: PageFile, page: Buffer): Generator<PageEntry> {
  const entry = new PageEntry(file);
  entry.page = page;
  const count = countOf(entry);
  for (let i = 0; i < count; i += 1) if (entry.readLeaf(i, "value")) yield entry;
}

/**
 * How many entries a page has: what its head says, or more, when only with more the entries fill exactly the room that the head says they
 * take. A page's first field may be the damaged one, and what lies behind its last entry is old.
 */
function countOf(entry: PageEntry): number {
  const { page } = entry;
  const roomBytes = page.length - PAGE_HEADER_BYTES;
  const most = Math.floor(roomBytes / 2);
  const said = Math.min(Math.floor(page.readUInt16LE(20) / 2), most);
  const wantedBytes = roomBytes - page.readUInt16LE(22);
  let bytes = 0;
  for (let i = 0; i < most && bytes < wantedBytes; i += 1) {
    if (!entry.readLeaf(i, "value")) break;
    bytes += entry.nodeBytes;
    if (bytes === wantedBytes) return Math.max(said, i + 1);
  }
  return said;
}
