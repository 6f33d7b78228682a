/** Results into files that the user names. */

import { type FileHandle, open, writeFile } from "node:fs/promises";
import { fail } from "@legacygpu/shared/errors";

/** To be asked before a long wait: what is there stays as it is. @throws `config_invalid` when nothing can be written there. */
export async function checkOutput(path: string): Promise<void> {
  await (await openOutput(path, "a")).close();
}

/** @throws `config_invalid` when the file cannot be written. */
export async function writeJson(path: string, document: unknown): Promise<void> {
  await naming(path, () => writeFile(path, `${JSON.stringify(document)}\n`));
}

/** One line of JSON for each document, as they come. @throws `config_invalid` when the file cannot be written. */
export async function writeJsonLines(path: string, documents: AsyncIterable<unknown>): Promise<void> {
  const file = await openOutput(path, "w");
  try {
    for await (const document of documents) {
      await naming(path, () => file.appendFile(`${JSON.stringify(document)}\n`));
    }
  } finally {
    await file.close();
  }
}

function openOutput(path: string, flags: "a" | "w"): Promise<FileHandle> {
  return naming(path, () => open(path, flags));
}

async function naming<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw fail(
      "config_invalid",
      `${path} cannot be written: ${(error as Error).message}`,
      { file: path },
      error,
    );
  }
}
