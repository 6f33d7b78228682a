/** The format of the stored tables: which one a store has, and the steps from an older one to ours. */

import { fail } from "@legacygpu/shared/errors";
import type { Environment } from "./environment.ts";
import type { Table } from "./table.ts";

/** Brings a store from the format before to `to`. Each step is one commit together with its number. */
interface Migration {
  readonly to: number;
  readonly run: (environment: Environment) => Promise<void>;
}

/** In order; none yet, as there has been one format only. */
const MIGRATIONS: readonly Migration[] = [];
export const FORMAT = 1;
const FORMAT_KEY = "format";

/** @throws `store_too_new` when a newer version of the program wrote it; `store_corrupt` */
export async function migrate(environment: Environment, meta: Table): Promise<void> {
  const found = readFormat(environment, meta);
  if (found > FORMAT) throw tooNew(environment.path, found);
  for (const { to, run } of MIGRATIONS) {
    if (to <= found) continue;
    await run(environment);
    await writeFormat(environment, meta, to);
  }
  if (found === 0) await writeFormat(environment, meta, FORMAT);
}

/** 0: a new store. */
function readFormat(environment: Environment, meta: Table): number {
  const text = meta.get(FORMAT_KEY)?.toString() ?? "0";
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw fail(
    "store_corrupt",
    `${environment.path} does not say which format it has. Restore a backup of it.`,
    {
      path: environment.path,
      key: FORMAT_KEY,
    },
  );
}

function writeFormat(environment: Environment, meta: Table, format: number): Promise<void> {
  return environment.commit([{ table: meta, key: FORMAT_KEY, value: Buffer.from(String(format)) }]);
}

function tooNew(path: string, found: number): Error {
  return fail(
    "store_too_new",
    `${path} has format ${found}; this version of legacygpu knows formats up to ${FORMAT}. Start the newer version again.`,
    { path, found, known: FORMAT },
  );
}
