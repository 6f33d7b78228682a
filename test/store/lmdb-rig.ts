/** LMDB stores in a folder of their own, closed and removed together. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ErrorCode, LegacyGpuError } from "@legacygpu/shared/errors";
import { createLogger, type Logger } from "@legacygpu/shared/log";
import { Environment } from "../../gateway/store/environment.ts";
import { LmdbTaskStore, type LmdbTaskStoreOptions } from "../../gateway/store/lmdb-task-store.ts";
import type { Table } from "../../gateway/store/table.ts";
import { ManualClock } from "../support/manual-clock.ts";

export class LmdbRig {
  readonly folder: string;
  readonly path: string;
  readonly clock = new ManualClock();
  readonly logLines: string[] = [];
  readonly #log: Logger;
  #store: LmdbTaskStore | undefined;

  constructor(folder: string = mkdtempSync(join(tmpdir(), "legacygpu-store-"))) {
    this.folder = folder;
    this.path = join(folder, "tasks.mdb");
    this.#log = createLogger("test", "warn", { write: (line) => this.logLines.push(line) });
  }

  async open(options: Partial<LmdbTaskStoreOptions> = {}): Promise<LmdbTaskStore> {
    this.#store = await LmdbTaskStore.open({
      path: this.path,
      clock: this.clock,
      log: this.#log,
      maxFinished: 1000,
      maxFinishedAgeMs: Number.POSITIVE_INFINITY,
      maxStoredBytes: Number.POSITIVE_INFINITY,
      reserveBytes: 0,
      ...options,
    });
    return this.#store;
  }

  async reopen(options: Partial<LmdbTaskStoreOptions> = {}): Promise<LmdbTaskStore> {
    await this.#store?.close();
    return this.open(options);
  }

  async closeStore(): Promise<void> {
    await this.#store?.close();
  }

  /** Writes into the closed store behind its back. */
  async edit(
    name: string,
    change: (table: Table) => { readonly key: string; readonly value?: Uint8Array },
  ): Promise<void> {
    await this.closeStore();
    const environment = await Environment.open(this.path);
    const table = environment.table(name);
    await environment.commit([{ table, ...change(table) }]);
    await environment.close();
  }

  async flipBit(table: string, key: string): Promise<void> {
    await this.edit(table, (opened) => {
      const value = Buffer.from(opened.get(key) ?? assert.fail(`no ${key}`));
      value[value.length - 3] = (value.at(-3) ?? 0) ^ 1;
      return { key, value };
    });
  }

  async close(): Promise<void> {
    await this.closeStore();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export async function assertFails(action: Promise<unknown>, code: ErrorCode): Promise<LegacyGpuError> {
  const error = await action.then(
    () => assert.fail(`expected ${code}`),
    (reason: LegacyGpuError) => reason,
  );
  assert.equal(error.code, code, error.stack);
  return error;
}
