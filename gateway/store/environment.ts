/** One LMDB environment: atomic commits that are on disk when they resolve, failures in our own codes. The only importer of lmdb. */

import { chmodSync, closeSync, fsyncSync, openSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import { type DatabaseOptions, open, type RootDatabase } from "lmdb";
import { Table, type Write } from "./table.ts";

/** Room that a commit needs beside its own bytes, for the pages that it copies. */
const COMMIT_OVERHEAD_BYTES = 1024 * 1024;
const EIO = 5;
/** ENOSPC, EDQUOT (Linux, macOS), MDB_MAP_FULL. */
const FULL_CODES: ReadonlySet<number> = new Set([28, 122, 69, -30792]);
const MAX_TABLES = 32;
const PASSING_BYTES = 256 * 1024;
/** Keys as text, without a buffer for each. Whoever makes them keeps them shorter than LMDB's limit. */
const TEXT_KEYS = {
  writeKey: (key: string, target: Buffer, position: number): number =>
    position + target.write(key, position, "utf8"),
  readKey: (source: Buffer, start: number, end: number): string => source.toString("utf8", start, end),
};

/** Copies values one behind the other into memory that they share. */
class PassingValues {
  #memory = Buffer.alloc(0);
  #end = 0;

  encode(value: Buffer): Buffer {
    return value;
  }

  /** @param bytes LMDB's own memory, which it uses again; of its true length only `length` tells. */
  decode(bytes: Buffer): Buffer {
    const { buffer, byteOffset, length } = bytes;
    if (this.#end + length > this.#memory.length) {
      this.#memory = Buffer.allocUnsafeSlow(Math.max(PASSING_BYTES, length));
      this.#end = 0;
    }
    const start = this.#end;
    this.#end += length;
    this.#memory.set(new Uint8Array(buffer, byteOffset, length), start);
    return this.#memory.subarray(start, this.#end);
  }
}

export class Environment {
  readonly path: string;
  readonly #root: RootDatabase<Buffer, Buffer>;

  private constructor(path: string, root: RootDatabase<Buffer, Buffer>) {
    this.path = path;
    this.#root = root;
  }

  /** Whoever does not trust the file has checked it (`audit.ts`): LMDB trusts it. @throws `store_failed` */
  static async open(path: string, { isReadOnly = false } = {}): Promise<Environment> {
    const root = openRoot(path, isReadOnly);
    try {
      if (!isReadOnly) {
        keepPrivate(path);
        syncFolder(dirname(path));
      }
      return new Environment(path, root);
    } catch (error) {
      await root.close();
      throw error;
    }
  }

  /**
   * @param values `kept` by those who read them, or `passing`: decoded at once and dropped. A million of these are read twice as fast, as they
   * share the memory that they are copied into; but one that is kept would keep all of it.
   */
  table(name: string, values: "kept" | "passing" = "kept"): Table {
    const options = {
      name,
      encoding: "binary",
      keyEncoder: TEXT_KEYS,
      ...(values === "passing" ? { encoder: new PassingValues() } : {}),
    };
    return new Table(name, this.#root.openDB<Buffer, string>(options as DatabaseOptions & { name: string }));
  }

  /** All of the writes or none. @throws `store_full` when there is no room, `store_failed` when the disk does not work. */
  async commit(writes: readonly Write[]): Promise<void> {
    try {
      await this.#root.batch(() => put(writes));
    } catch (error) {
      throw await this.#commitFailure(error, writes);
    }
  }

  /** The same while everything else waits: not for a gateway. @throws `store_full`, `store_failed` */
  commitAtOnce(writes: readonly Write[]): void {
    try {
      this.#root.transactionSync(() => put(writes));
    } catch (error) {
      throw asFailure(`${this.path} cannot be written`, error, this.path);
    }
  }

  /** A copy as it is at this moment, while others write. @throws `store_full`, `store_failed` */
  async copy(path: string, how: "as it is" | "compact"): Promise<void> {
    try {
      await this.#root.backup(path, how === "compact");
      keepPrivate(path);
    } catch (error) {
      throw asFailure(`${path} cannot be written`, error, path);
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

  async #commitFailure(error: unknown, writes: readonly Write[]): Promise<LegacyGpuError> {
    const cause = await causeOf(error);
    if (codeOf(cause) === EIO && (await this.#lacksRoom(writes))) return noRoom(this.path, cause);
    return asFailure(`${this.path} cannot be written`, cause, this.path);
  }

  /** LMDB calls a write that the disk took only half of an input/output error; nearly always the disk is full. */
  async #lacksRoom(writes: readonly Write[]): Promise<boolean> {
    const neededBytes = writes.reduce((sum, { value }) => sum + (value?.length ?? 0), COMMIT_OVERHEAD_BYTES);
    return (await this.freeBytes()) < neededBytes;
  }
}

function put(writes: readonly Write[]): void {
  for (const { table, key, value } of writes) {
    if (value === undefined) table.database.remove(key);
    else table.database.put(key, value as Buffer);
  }
}

function openRoot(path: string, isReadOnly: boolean): RootDatabase<Buffer, Buffer> {
  try {
    return open<Buffer, Buffer>({
      path,
      noSubdir: true,
      readOnly: isReadOnly,
      maxDbs: MAX_TABLES,
      encoding: "binary",
      keyEncoding: "binary",
      // A commit then resolves after its fdatasync, and a failed one rejects: with overlapping syncs it never settles.
      overlappingSync: false,
      // Every write is in an explicit batch; with turns, a failed commit also rejects a promise that nobody can handle.
      eventTurnBatching: false,
    });
  } catch (error) {
    throw asFailure(`${path} cannot be opened`, error, path);
  }
}

/** LMDB makes files that everybody may read, and in them are inputs, results and the secrets of webhooks. */
function keepPrivate(path: string): void {
  try {
    chmodSync(path, 0o600);
  } catch {
    // It belongs to somebody else, who has decided who may read it.
  }
}

function asFailure(what: string, error: unknown, path: string): LegacyGpuError {
  const code = codeOf(error);
  if (code !== undefined && FULL_CODES.has(code)) return noRoom(path, error);
  return fail("store_failed", `${what}: ${(error as Error).message}`, {}, error);
}

const noRoom = (path: string, cause: unknown): LegacyGpuError =>
  fail("store_full", `There is no room left for ${path}.`, {}, cause);

function codeOf(error: unknown): number | undefined {
  const { code } = error as { code?: unknown };
  return typeof code === "number" ? code : undefined;
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
export function syncFolder(folder: string): void {
  if (process.platform === "win32") return;
  const handle = openSync(folder, "r");
  fsyncSync(handle);
  closeSync(handle);
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
