/** Copies everything from a damaged file whose seal is right into a new environment, and puts the rest aside. */

import { fail } from "@legacygpu/shared/errors";
import type { AsideFile } from "./aside-file.ts";
import { SEALED_TABLES } from "./audit.ts";
import { crcOfBytes } from "./crc.ts";
import type { Environment } from "./environment.ts";
import { FORMAT, FORMAT_KEY, MIGRATING_KEY } from "./migrations.ts";
import type { PageEntry } from "./pages/page-entry.ts";
import type { PageFile } from "./pages/page-file.ts";
import { FREE_PAGES, PageWalk } from "./pages/page-walk.ts";
import { lostEntries } from "./pages/salvage.ts";
import { isSealed, sealPrefix } from "./sealed.ts";
import { STARTS_KEY } from "./starts.ts";
import type { Table, Write } from "./table.ts";

const BATCH_BYTES = 4 * 1024 * 1024;
const BATCH = 1024;

export class Rebuild {
  /** Tasks whose attempts could not be copied. */
  readonly withoutAttempts = new Set<string>();
  readonly #environment: Environment;
  readonly #aside: AsideFile;
  readonly #tables: ReadonlyMap<string, Table>;
  readonly #meta: Table;
  #writes: Write[] = [];
  #writtenBytes = 0;
  #count = 0;

  constructor(environment: Environment, aside: AsideFile) {
    this.#environment = environment;
    this.#aside = aside;
    this.#meta = environment.table("meta");
    this.#tables = new Map(SEALED_TABLES.map((name) => [name, environment.table(name)]));
  }

  /**
   * @returns how many entries were sound.
   * @throws `store_corrupt` when the file has an older format, `store_full`, `store_failed`
   */
  copy(file: PageFile): number {
    let isFreeListRight = true;
    const walk = new PageWalk(file, {
      onEntry: (table, entry) => this.#take(table, entry),
      onDamage: (table, what) => {
        this.#aside.add({ table, key: "", what });
        if (table === FREE_PAGES) isFreeListRight = false;
      },
    });
    walk.run("meta");
    this.#flush();
    // Without the list of free pages nothing tells what was lost from what is old.
    if (isFreeListRight) for (const entry of lostEntries(file, walk)) this.#takeLost(entry);
    this.#flush();
    return this.#count;
  }

  #take(table: string, entry: PageEntry): void {
    if (table === "meta") {
      this.#takeMeta(entry);
      return;
    }
    const copy = this.#tables.get(table);
    if (copy === undefined) return;
    const value = bytesOf(entry);
    if (value !== undefined && isSealedAs(table, entry, value)) {
      this.#put(copy, entry.key, value);
      return;
    }
    this.#aside.add({ table, key: entry.key, what: "its checksum is wrong" }, value);
    if (table === "attempts") this.withoutAttempts.add(entry.key);
  }

  #takeMeta(entry: PageEntry): void {
    const { key } = entry;
    const value = bytesOf(entry);
    const format = key === FORMAT_KEY ? Number(value?.toString()) : FORMAT;
    if ((format >= 1 && format < FORMAT) || key === MIGRATING_KEY)
      throw fail(
        "store_corrupt",
        "The store has an older format, which cannot be repaired. Restore a backup of it.",
      );
    if (key === STARTS_KEY && value !== undefined && isSealedAs("meta", entry, value))
      this.#put(this.#meta, key, value);
  }

  /** The page does not say of which table it is; the seals do. */
  #takeLost(entry: PageEntry): void {
    const value = bytesOf(entry);
    if (value === undefined) return;
    for (const [name, table] of this.#tables)
      if (isSealedAs(name, entry, value) && !table.has(entry.key)) this.#put(table, entry.key, value);
  }

  #put(table: Table, key: string, value: Buffer): void {
    this.#writes.push({ table, key, value: Buffer.from(value) });
    this.#writtenBytes += value.length;
    this.#count += 1;
    if (this.#writes.length >= BATCH || this.#writtenBytes >= BATCH_BYTES) this.#flush();
  }

  #flush(): void {
    this.#environment.commitAtOnce(this.#writes);
    this.#writes = [];
    this.#writtenBytes = 0;
  }
}

/** Undefined: it cannot be read. */
function bytesOf(entry: PageEntry): Buffer | undefined {
  try {
    return entry.value();
  } catch {
    return undefined;
  }
}

function isSealedAs(table: string, { page, keyStart, keyEnd }: PageEntry, value: Buffer): boolean {
  return isSealed(value, 0, value.length, crcOfBytes(page, keyStart, keyEnd, sealPrefix(table)));
}
