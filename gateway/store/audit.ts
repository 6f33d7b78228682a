/**
 * Reads a store's file before LMDB does: the pages, the seals of the values, and whether the tables fit together.
 *
 * At the start of a gateway that is everything but large values and results, which are checked when they are read; for `legacygpu store verify` it
 * is all. A store of an older format is compared when it has been brought to ours.
 */

import { asLegacyGpuError, fail, LegacyGpuError } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import { crcOfByte, crcOfBytes, crcOfText } from "./crc.ts";
import { ownerKey } from "./index-keys.ts";
import { KeyComparison, KeyDifferences } from "./key-comparison.ts";
import { FORMAT, FORMAT_KEY, MIGRATING_KEY, readFormat, tooNew } from "./migrations.ts";
import type { PageEntry } from "./pages/page-entry.ts";
import { PageFile } from "./pages/page-file.ts";
import { PageWalk } from "./pages/page-walk.ts";
import { FIXED_BYTES, keysOfFinished, RecordHeader } from "./record-header.ts";
import { isSealed, printable, sealPrefix } from "./sealed.ts";
import { STARTS_KEY } from "./starts.ts";

/** Inputs and large values that are read at the start of a gateway. */
const MAX_READ_BYTES = 256 * 1024 * 1024;
const MAX_READ_INPUTS = 100_000;

const RECORDS: ReadonlySet<string> = new Set(["unfinished", "tasks"]);
/** Tables whose values are sealed, and which of them a start reads. */
const SEALED: Readonly<Record<string, "always" | "some" | "never">> = {
  unfinished: "always",
  tasks: "always",
  attempts: "always",
  documents: "always",
  inputs: "some",
  outputs: "never",
  kept: "never",
};
export const SEALED_TABLES = Object.keys(SEALED);
/** Tables whose keys follow from the records. */
const FOLLOWING: ReadonlySet<string> = new Set([
  "inputs",
  "outputs",
  "kept",
  "owners",
  "finished",
  "expiring",
  "dead",
]);

export interface Damage {
  readonly table: string;
  /** Empty: the table as a whole. */
  readonly key: string;
  readonly what: string;
}

export interface AuditOptions {
  readonly depth: "start" | "everything";
  /** Throw to stop. */
  readonly onDamage: (damage: Damage) => void;
}

/**
 * Undefined: there is no store yet, or the file is none.
 * @param onDamage told of what is wrong with its beginning; the rest can be read all the same, if there is one.
 * @throws `store_failed` when it cannot be read
 */
export function openPages(path: string, onDamage: (damage: Damage) => void): PageFile | undefined {
  try {
    return PageFile.open(path, (what) => onDamage({ table: "", key: "", what }));
  } catch (error) {
    if (error instanceof LegacyGpuError) throw error;
    throw fail("store_failed", `${path} cannot be read: ${(error as Error).message}`, { path }, error);
  }
}

/** @throws `store_corrupt` at the first damage, `store_too_new`, `store_failed` */
export function assertSound(path: string): void {
  const onDamage = (damage: Damage): never => {
    throw refusal(path, damage);
  };
  const file = openPages(path, onDamage);
  try {
    if (file !== undefined) new Audit(file, { depth: "start", onDamage }).run();
  } finally {
    file?.close();
  }
}

export class Audit {
  /** Entries by table. */
  readonly checked: Record<string, number> = {};
  readonly #file: PageFile;
  readonly #options: AuditOptions;
  readonly #comparison = new KeyComparison();
  #readBytes = 0;
  #readInputs = 0;
  #format = 0;
  #isMigrating = false;

  constructor(file: PageFile, options: AuditOptions) {
    this.#file = file;
    this.#options = options;
  }

  run(): void {
    this.#walk((table, entry) => this.#entry(table, entry));
    if (this.#format === 0 && Object.keys(this.checked).length > 0)
      this.#damage("meta", FORMAT_KEY, "it is missing");
    if (this.#format !== FORMAT || this.#isMigrating) return;
    const { differing } = this.#comparison;
    if (differing.size > 0) this.#compareKeys(new KeyDifferences(differing));
  }

  #walk(onEntry: (table: string, entry: PageEntry) => void): void {
    const onDamage = (table: string, what: string): void => this.#damage(table, "", what);
    try {
      new PageWalk(this.#file, { onEntry, onDamage }).run("meta");
    } catch (error) {
      if (error instanceof LegacyGpuError) throw error;
      const { path } = this.#file;
      throw fail("store_failed", `${path} cannot be read: ${(error as Error).message}`, { path }, error);
    }
  }

  #entry(table: string, entry: PageEntry): void {
    this.checked[table] = (this.checked[table] ?? 0) + 1;
    if (table === "meta") {
      this.#meta(entry);
      return;
    }
    const { page, keyStart, keyEnd } = entry;
    if (FOLLOWING.has(table)) this.#comparison.add("found", table, crcOfBytes(page, keyStart, keyEnd));
    if (!this.#isRead(table, entry)) return;
    if (this.#isSound(table, entry) && RECORDS.has(table) && this.#format === FORMAT)
      this.#record(table, entry);
  }

  #meta(entry: PageEntry): void {
    const { key } = entry;
    const { path } = this.#file;
    if (key === STARTS_KEY && this.#format >= 2 && !this.#isMigrating) this.#isSound("meta", entry);
    if (key === MIGRATING_KEY) this.#isMigrating = true;
    if (key !== FORMAT_KEY) return;
    try {
      this.#format = readFormat(path, key, entry.value());
    } catch (error) {
      this.#damage("meta", key, asLegacyGpuError(error).message);
    }
    if (this.#format > FORMAT) throw tooNew(path, this.#format);
  }

  #isRead(table: string, { overflowPages, sizeBytes }: PageEntry): boolean {
    const when = SEALED[table];
    if (when === undefined) return false;
    if (this.#options.depth === "everything" || (when === "always" && overflowPages === 0)) return true;
    if (when === "never" || this.#readBytes + sizeBytes > MAX_READ_BYTES) return false;
    if (when === "some" && this.#readInputs === MAX_READ_INPUTS) return false;
    if (when === "some") this.#readInputs += 1;
    this.#readBytes += sizeBytes;
    return true;
  }

  #isSound(table: string, entry: PageEntry): boolean {
    try {
      const { bytes, start, end } = entry.locate();
      const prefix = crcOfBytes(entry.page, entry.keyStart, entry.keyEnd, sealPrefix(table));
      if (isSealed(bytes, start, end, prefix)) return true;
      this.#damage(table, entry.key, "its checksum is wrong");
    } catch (error) {
      if (error instanceof LegacyGpuError) throw error;
      this.#damage(table, entry.key, (error as Error).message);
    }
    return false;
  }

  #record(table: string, entry: PageEntry): void {
    if (table === "tasks") {
      for (const [index, key] of keysOfFinished(new RecordHeader(entry.key as TaskId, entry.value())))
        this.#comparison.add("expected", index, crcOfText(key));
    } else this.#comparison.add("expected", "inputs", crcOfBytes(entry.page, entry.keyStart, entry.keyEnd));
    // By hand, as there may be a million of them.
    const { bytes, start } = entry.locate();
    const owner = start + FIXED_BYTES;
    const ownerCrc = crcOfByte(0, crcOfBytes(bytes, owner, owner + RecordHeader.ownerBytes(bytes, start)));
    this.#comparison.add(
      "expected",
      "owners",
      crcOfBytes(entry.page, entry.keyStart, entry.keyEnd, ownerCrc),
    );
  }

  #compareKeys(differences: KeyDifferences): void {
    this.#walk((table, entry) => {
      if (differences.concerns(table)) differences.add("found", table, entry.key);
      if (!RECORDS.has(table)) return;
      const header = new RecordHeader(entry.key as TaskId, entry.value());
      differences.add("expected", "owners", ownerKey(header.owner, header.id));
      if (table === "unfinished") differences.add("expected", "inputs", header.id);
      else for (const [index, key] of keysOfFinished(header)) differences.add("expected", index, key);
    });
    for (const { table, key } of differences.only("expected")) this.#damage(table, key, "it is missing");
    for (const { table, key } of differences.only("found")) this.#damage(table, key, "it belongs to no task");
  }

  #damage(table: string, key: string, what: string): void {
    this.#options.onDamage({ table, key, what });
  }
}

export function refusal(path: string, { table, key, what }: Damage): Error {
  const where = printable(key === "" ? table : `${table}/${key}`);
  const subject = key === "" ? `The table ${where}` : `The record ${where}`;
  return fail(
    "store_corrupt",
    `${table === "" ? path : `${subject} in ${path}`} is damaged: ${what}. The gateway does not start on it, so that nothing is lost silently. \`legacygpu store verify\` lists all damage; \`legacygpu store repair\` moves what is damaged aside and keeps the rest. Or restore a backup.`,
    { path, table, key: where },
  );
}
