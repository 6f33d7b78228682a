/** One LMDB environment: atomic commits that are on disk when they resolve, failures in our own codes. The only importer of lmdb. */

import { closeSync, fsyncSync, ftruncateSync, openSync, statSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import { open, type RootDatabase } from "lmdb";
import { Table, type Write } from "./table.ts";

/** An existing file has at least the two meta pages of the smallest page size. */
const MIN_FILE_BYTES = 2 * 4096;
/** Pages at the end that LMDB took and gave back within one commit are counted and never written; more than these few are damage. */
const MAX_UNWRITTEN_PAGES = 64;
/** Room that a commit needs beside its own bytes, for the pages that it copies. */
const COMMIT_OVERHEAD_BYTES = 1024 * 1024;
const EIO = 5;
/** ENOSPC, EDQUOT (Linux, macOS), MDB_MAP_FULL. */
const FULL_CODES: ReadonlySet<number> = new Set([28, 122, 69, -30792]);
const MAX_TABLES = 16;

export class Environment {
  readonly path: string;
  /** Whether the file was a little shorter than its header says: pages at its end may be missing. */
  readonly wasShort: boolean;
  readonly #root: RootDatabase<Buffer, Buffer>;

  private constructor(path: string, root: RootDatabase<Buffer, Buffer>) {
    this.path = path;
    this.#root = root;
    this.wasShort = this.#fillUp();
  }

  /** @throws `store_corrupt` */
  static async open(path: string): Promise<Environment> {
    assertNotStump(path);
    const root = open<Buffer, Buffer>({
      path,
      noSubdir: true,
      maxDbs: MAX_TABLES,
      encoding: "binary",
      keyEncoding: "binary",
      // A commit then resolves after its fdatasync, and a failed one rejects: with overlapping syncs it never settles.
      overlappingSync: false,
      // Every write is in an explicit batch; with turns, a failed commit also rejects a promise that nobody can handle.
      eventTurnBatching: false,
    });
    try {
      syncFolder(dirname(path));
      return new Environment(path, root);
    } catch (error) {
      await root.close();
      throw error;
    }
  }

  table(name: string): Table {
    return new Table(
      name,
      this.#root.openDB<Buffer, Buffer>({ name, encoding: "binary", keyEncoding: "binary" }),
    );
  }

  /** All of the writes or none. @throws `store_full` when there is no room, `store_failed` when the disk does not work. */
  async commit(writes: readonly Write[]): Promise<void> {
    try {
      await this.#root.batch(() => {
        for (const { table, key, value } of writes) {
          if (value === undefined) table.database.remove(Buffer.from(key));
          else
            table.database.put(Buffer.from(key), Buffer.from(value.buffer, value.byteOffset, value.length));
        }
      });
    } catch (error) {
      throw await this.#commitFailure(error, writes);
    }
  }

  /** Bytes that are free on the disk below. */
  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(dirname(this.path));
    return bavail * bsize;
  }

  async close(): Promise<void> {
    await this.#root.close();
  }

  /** Reading a page that the header counts and the file lacks ends the process with SIGBUS. @throws `store_corrupt` */
  #fillUp(): boolean {
    const { lastPageNumber, pageSize } = this.#root.getStats() as {
      lastPageNumber: number;
      pageSize: number;
    };
    const wantedBytes = (lastPageNumber + 1) * pageSize;
    const { size } = statSync(this.path);
    if (size >= wantedBytes) return false;
    if (wantedBytes - size > MAX_UNWRITTEN_PAGES * pageSize) throw cutOff(this.path, size);
    const file = openSync(this.path, "r+");
    ftruncateSync(file, wantedBytes);
    closeSync(file);
    return true;
  }

  async #commitFailure(error: unknown, writes: readonly Write[]): Promise<LegacyGpuError> {
    const cause = await causeOf(error);
    const code = (cause as { code?: unknown }).code;
    if (
      typeof code === "number" &&
      (FULL_CODES.has(code) || (code === EIO && (await this.#lacksRoom(writes))))
    )
      return fail("store_full", `There is no room left for ${this.path}.`, {}, cause);
    return fail("store_failed", `${this.path} cannot be written: ${cause.message}`, {}, cause);
  }

  /** LMDB calls a write that the disk took only half of an input/output error; nearly always the disk is full. */
  async #lacksRoom(writes: readonly Write[]): Promise<boolean> {
    const neededBytes = writes.reduce((sum, { value }) => sum + (value?.length ?? 0), COMMIT_OVERHEAD_BYTES);
    return (await this.freeBytes()) < neededBytes;
  }
}

/** LMDB reports why a commit failed through a second promise. */
async function causeOf(error: unknown): Promise<Error> {
  const { commitError } = error as { commitError?: Promise<unknown> };
  try {
    await commitError;
  } catch (cause) {
    if (cause instanceof Error) return cause;
  }
  return error instanceof Error ? error : new Error(String(error));
}

/** LMDB syncs the file, but not its name in the folder. Windows cannot, and does not need to. */
function syncFolder(folder: string): void {
  if (process.platform === "win32") return;
  const handle = openSync(folder, "r");
  fsyncSync(handle);
  closeSync(handle);
}

function assertNotStump(path: string): void {
  const sizeBytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (sizeBytes > 0 && sizeBytes < MIN_FILE_BYTES) throw cutOff(path, sizeBytes);
}

function cutOff(path: string, sizeBytes: number): Error {
  return fail(
    "store_corrupt",
    `${path} was cut off after ${sizeBytes} bytes. Restore a backup of it, or move it away to start with an empty store.`,
    { path },
  );
}

/** Holds a place in the reader table of an environment that nobody writes; the kernel gives it up with the process. */
export class ReaderPlace {
  readonly #root: RootDatabase<Buffer, Buffer>;
  readonly #transaction: { done(): void };

  constructor(path: string) {
    this.#root = open<Buffer, Buffer>({ path, noSubdir: true, encoding: "binary", overlappingSync: false });
    this.#transaction = this.#root.useReadTransaction();
  }

  /** Process ids of everyone alive that holds a place, this one included, once for each place. */
  holders(): number[] {
    this.#root.readerCheck();
    const [, ...lines] = this.#root.readerList().trim().split("\n");
    return lines.map((line) => Number.parseInt(line.trim(), 10));
  }

  async release(): Promise<void> {
    this.#transaction.done();
    await this.#root.close();
  }
}
