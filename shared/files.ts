/** Files that are whole or absent: written beside, flushed, then renamed into place; and read back through a schema. */

import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { z } from "zod";
import { fail } from "./errors.ts";

export interface WriteOptions {
  /** Permissions; 0600 for whatever holds a secret. */
  readonly mode?: number;
}

export async function writeFileAtomic(
  path: string,
  contents: string | Uint8Array,
  { mode = 0o644 }: WriteOptions = {},
): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    const file = await open(temporary, "wx", mode);
    try {
      await file.writeFile(contents);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/**
 * @param what the file holds, for the message.
 * @returns undefined when there is no such file.
 * @throws `config_invalid` when it is not of the expected form: going on without it would lose what it holds.
 */
export async function readJsonFile<T>(
  file: string,
  what: string,
  schema: z.ZodType<T>,
): Promise<T | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    const message = `The ${what} ${file} is damaged; restore it from a backup or move it away.`;
    throw fail("config_invalid", message, { file }, error);
  }
}
