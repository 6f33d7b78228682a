/** Reads the input of a task: a picture, or tensors in JSON; from a file or from standard input. */

import { readFile } from "node:fs/promises";
import { extname } from "node:path";
import { type CreateTask, taskInputJsonSchema } from "@legacygpu/shared/api/tasks";
import { fail } from "@legacygpu/shared/errors";
import { imageType } from "../index.ts";
import type { CliIo } from "./io.ts";

export type TaskInput =
  | { readonly kind: "image"; readonly bytes: Uint8Array; readonly contentType: string }
  | { readonly kind: "json"; readonly input: CreateTask["input"] };

const BY_EXTENSION: Readonly<Record<string, string>> = {
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".jpeg": "image/jpeg",
  ".webp": "image/webp",
  ".gif": "image/gif",
  ".tif": "image/tiff",
  ".tiff": "image/tiff",
  ".avif": "image/avif",
  ".svg": "image/svg+xml",
};

/** @throws `input_invalid` when it cannot be read or is neither picture nor tensors. */
export async function readTaskInput(path: string, stdin: CliIo["stdin"]): Promise<TaskInput> {
  const name = path === "-" ? "standard input" : path;
  const bytes = path === "-" ? await readAll(stdin) : await readNamed(path);
  if (bytes.byteLength === 0) throw fail("input_invalid", `${name} is empty.`, { file: path });
  const contentType = imageType(bytes) ?? BY_EXTENSION[extname(path).toLowerCase()];
  if (contentType !== undefined) return { kind: "image", bytes, contentType };
  return { kind: "json", input: parseTensors(bytes, name) };
}

async function readNamed(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw fail("input_invalid", `${path} cannot be read: ${(error as Error).message}`, { file: path }, error);
  }
}

async function readAll(stdin: CliIo["stdin"]): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stdin) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function parseTensors(bytes: Uint8Array, name: string): CreateTask["input"] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    const message = `${name} is neither a picture nor JSON: give a PNG, JPEG or WebP, or {"inputs": [{"name", "datatype", "shape", "data"}]}.`;
    throw fail("input_invalid", message, { file: name }, error);
  }
  const input = taskInputJsonSchema.safeParse(parsed);
  if (input.success) return input.data;
  const issue = input.error.issues[0];
  const message = `${name} is not the input of a task: ${issue?.message}`;
  throw fail("input_invalid", message, { file: name });
}
