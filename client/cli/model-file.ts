/** A model's file on disk as the SDK wants it: digest first, then as often as it must be sent. */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { Readable } from "node:stream";
import { fail } from "@legacygpu/shared/errors";
import type { ModelFile } from "../index.ts";

const READ_BYTES = 256 * 1024;

/** @throws `input_invalid` naming the file when it cannot be read. */
export async function openModelFile(path: string): Promise<ModelFile> {
  try {
    const { size } = await stat(path);
    return { digest: await digestOfFile(path), sizeBytes: size, open: (offset) => webStream(path, offset) };
  } catch (error) {
    throw fail("input_invalid", `${path} cannot be read: ${(error as Error).message}`, { file: path }, error);
  }
}

async function digestOfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return `sha256:${hash.digest("hex")}`;
}

function webStream(path: string, start: number): ReadableStream<Uint8Array> {
  return Readable.toWeb(
    createReadStream(path, { start, highWaterMark: READ_BYTES }),
  ) as ReadableStream<Uint8Array>;
}
