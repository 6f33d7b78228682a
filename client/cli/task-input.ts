/** Reads the input of a task: a picture, or tensors in JSON; from a file or from standard input. */

import { open, readFile } from "node:fs/promises";
import { extname } from "node:path";
import { type CreateTask, taskInputJsonSchema } from "@legacygpu/shared/api/tasks";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
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

/** What the first bytes of a picture fit into. */
const HEAD_BYTES = 256;

/** @throws `input_invalid` when it cannot be read or is neither picture nor tensors. */
export async function readTaskInput(path: string, stdin: CliIo["stdin"]): Promise<TaskInput> {
  return path === "-" ? asInput(await readAll(stdin), path, "standard input") : readInputFile(path);
}

/** Like {@link readTaskInput}. */
export async function readInputFile(path: string): Promise<TaskInput> {
  const bytes = await readFile(path).catch((error: unknown) => Promise.reject(unreadable(path, error)));
  return asInput(bytes, path, path);
}

/** Finds most of what {@link readInputFile} would find, by the first bytes alone. @throws `input_invalid` */
export async function checkInputFile(path: string): Promise<void> {
  const head = await readHead(path).catch((error: unknown) => Promise.reject(unreadable(path, error)));
  if (head.byteLength === 0) throw empty(path, path);
  const mayBeJson = /^\s*\{/.test(new TextDecoder().decode(head));
  if (!mayBeJson && typeOf(head, path) === undefined) throw neither(path);
}

/** As part of a request in JSON: a picture in base 64. */
export function asJson(input: TaskInput): CreateTask["input"] {
  if (input.kind === "json") return input.input;
  const { buffer, byteOffset, byteLength } = input.bytes;
  return { image: Buffer.from(buffer, byteOffset, byteLength).toString("base64") };
}

function asInput(bytes: Uint8Array, path: string, name: string): TaskInput {
  if (bytes.byteLength === 0) throw empty(path, name);
  const contentType = typeOf(bytes, path);
  if (contentType !== undefined) return { kind: "image", bytes, contentType };
  return { kind: "json", input: parseTensors(bytes, name) };
}

function typeOf(bytes: Uint8Array, path: string): string | undefined {
  return imageType(bytes) ?? BY_EXTENSION[extname(path).toLowerCase()];
}

async function readHead(path: string): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
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
    throw neither(name, error);
  }
  const input = taskInputJsonSchema.safeParse(parsed);
  if (input.success) return input.data;
  const issue = input.error.issues[0];
  const message = `${name} is not the input of a task: ${issue?.message}`;
  throw fail("input_invalid", message, { file: name });
}

function unreadable(path: string, error: unknown): LegacyGpuError {
  return fail("input_invalid", `${path} cannot be read: ${(error as Error).message}`, { file: path }, error);
}

function empty(path: string, name: string): LegacyGpuError {
  return fail("input_invalid", `${name} is empty.`, { file: path });
}

function neither(name: string, cause?: unknown): LegacyGpuError {
  const message = `${name} is neither a picture nor JSON: give a PNG, JPEG or WebP, or {"inputs": [{"name", "datatype", "shape", "data"}]}.`;
  return fail("input_invalid", message, { file: name }, cause);
}
