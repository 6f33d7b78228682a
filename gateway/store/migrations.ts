/**
 * The format of the stored tables: which one a store has, and the steps from an older one to ours.
 *
 * A step says first that the store has the new format and that the way there is not finished: from then on no older program opens it, and a
 * step that was interrupted is taken again from the beginning. So each step must do over what it has not done, and leave what it has.
 */

import { fail } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import type { Environment } from "./environment.ts";
import { toFormat2 } from "./format-2.ts";
import type { Table, Write } from "./table.ts";

interface Migration {
  readonly to: number;
  readonly run: (environment: Environment, meta: Table) => Promise<void>;
}

/** In order. */
const MIGRATIONS: readonly Migration[] = [{ to: 2, run: toFormat2 }];
export const FORMAT = 2;
export const FORMAT_KEY = "format";
/** The format that a migration under way comes from. */
export const MIGRATING_KEY = "migrating";

/** @throws `store_too_new` when a newer version of the program wrote it; `store_corrupt` */
export async function migrate(environment: Environment, meta: Table, log: Logger): Promise<void> {
  const { path } = environment;
  const format = readFormat(path, FORMAT_KEY, meta.get(FORMAT_KEY));
  if (format > FORMAT) throw tooNew(path, format);
  if (format === 0) return environment.commit([formatWrite(meta, FORMAT_KEY, FORMAT)]);
  const from = readFormat(path, MIGRATING_KEY, meta.get(MIGRATING_KEY)) || format;
  for (const { to, run } of MIGRATIONS) {
    if (to <= from) continue;
    log.info({ path, to }, "the store is brought to a newer format; a million tasks take about a minute");
    await environment.commit([formatWrite(meta, FORMAT_KEY, to), formatWrite(meta, MIGRATING_KEY, to - 1)]);
    await run(environment, meta);
    await environment.commit([{ table: meta, key: MIGRATING_KEY }]);
  }
}

/** 0: there is none. @throws `store_corrupt` */
export function readFormat(path: string, key: string, value: Uint8Array | undefined): number {
  if (value === undefined) return 0;
  const text = Buffer.from(value).toString();
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw fail(
    "store_corrupt",
    `${path} does not say which format it has (meta/${key}). Restore a backup of it.`,
    { path, key: `meta/${key}` },
  );
}

export function formatWrite(meta: Table, key: string, format: number): Write {
  return { table: meta, key, value: Buffer.from(String(format)) };
}

export function tooNew(path: string, found: number): Error {
  return fail(
    "store_too_new",
    `${path} has format ${found}; this version of legacygpu knows formats up to ${FORMAT}. Start the newer version again.`,
    { path, found, known: FORMAT },
  );
}
