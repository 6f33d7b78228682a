/** LMDB stores in a folder of their own, closed and removed together. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger, type Logger } from "@legacygpu/shared/log";
import { LmdbTaskStore, type LmdbTaskStoreOptions } from "../../gateway/store/lmdb-task-store.ts";
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

  async close(): Promise<void> {
    await this.closeStore();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
