/**
 * Inserts that are acknowledged before they are on disk. Until they are, they are read from memory.
 *
 * One that cannot be written after all stays readable until its task ends, and is lost when the gateway stops before that.
 */

import type { Logger } from "@legacygpu/shared/log";
import type { GroupCommit } from "./group-commit.ts";
import type { Write } from "./table.ts";

/** When the disk is further behind than that, relaxed inserts wait for it too. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

export class RelaxedInserts {
  readonly #commits: GroupCommit;
  readonly #log: Logger;

  constructor(commits: GroupCommit, log: Logger) {
    this.#commits = commits;
    this.#log = log;
  }

  async add(writes: readonly Write[]): Promise<void> {
    for (const { table, key, value } of writes) if (value !== undefined) table.hold(key, value);
    const committed = this.#commits.add("insert", writes).then(
      () => {
        for (const { table, key, value } of writes) table.letGo(key, value);
      },
      (error: unknown) =>
        this.#log.error(
          { err: error, keys: writes.length },
          "relaxed tasks were accepted and could not be written: they are lost if the gateway stops before they end",
        ),
    );
    if (this.#commits.waitingBytes > MAX_WAITING_BYTES) await committed;
  }
}
