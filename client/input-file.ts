/** A file on disk as an input to upload: Node only, which is why the SDK's entry does not have it. */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { fail } from "@legacygpu/shared/errors";
import type { InputFile } from "./uploads.ts";

/** Holds no more of the file than the part that is being sent. @throws `input_invalid` naming the file when it cannot be read. */
export async function openInputFile(path: string): Promise<InputFile> {
  const { size } = await naming(path, () => stat(path));
  return {
    sizeBytes: size,
    digest: () => naming(path, () => digestOfFile(path)),
    read: (offset, sizeBytes) => naming(path, () => readPart(path, offset, sizeBytes)),
  };
}

async function digestOfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 }))
    hash.update(chunk as Buffer);
  return `sha256:${hash.digest("hex")}`;
}

async function readPart(path: string, offset: number, sizeBytes: number): Promise<Uint8Array> {
  const part = new Uint8Array(sizeBytes);
  const file = await open(path, "r");
  try {
    let filledBytes = 0;
    while (filledBytes < sizeBytes) {
      const { bytesRead } = await file.read(part, filledBytes, sizeBytes - filledBytes, offset + filledBytes);
      if (bytesRead === 0) break;
      filledBytes += bytesRead;
    }
    return part.subarray(0, filledBytes);
  } finally {
    await file.close();
  }
}

async function naming<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw fail("input_invalid", `${path} cannot be read: ${(error as Error).message}`, { file: path }, error);
  }
}
