/** Sends a model to the gateway: its file by digest, then the version that names it. */

import {
  blobJsonSchema,
  type ModelJson,
  modelJsonSchema,
  modelListSchema,
} from "@legacygpu/shared/api/models";
import { LegacyGpuError } from "@legacygpu/shared/errors";
import type { Manifest } from "@legacygpu/shared/manifest";
import type { Transport } from "./transport.ts";

/** A file that is too large to hold: read once for the digest, and once for each try to send it. */
export interface ModelFile {
  /** `sha256:` and 64 hexadecimal digits. */
  readonly digest: string;
  readonly sizeBytes: number;
  open(): ReadableStream<Uint8Array>;
}

export interface PushModel {
  readonly name: string;
  /**
   * Default: the newest version when it has the same contents, otherwise one more than the highest numbered version;
   * "1" for a new model.
   */
  readonly version?: string;
  readonly file: Uint8Array | ModelFile;
  readonly manifest?: Partial<Manifest>;
  readonly signal?: AbortSignal;
}

export async function pushModel(transport: Transport, model: PushModel): Promise<ModelJson> {
  const file = await asModelFile(model.file);
  const existing = model.version === undefined ? await versionsOf(transport, model) : [];
  if (!existing.some((version) => version.file === file.digest)) await putBlob(transport, file, model.signal);
  if (model.version !== undefined) return putVersion(transport, model, model.version, file.digest);
  const newest = existing.at(-1);
  if (newest?.file === file.digest) {
    const same = await putUnlessDifferent(transport, model, newest.version, file.digest);
    if (same !== undefined) return same;
  }
  return putVersion(transport, model, nextVersion(existing), file.digest);
}

/** @returns oldest first. */
async function versionsOf(transport: Transport, { name, signal }: PushModel): Promise<ModelJson[]> {
  const { models } = await transport.request({ method: "GET", path: "/models" }, modelListSchema, signal);
  return models
    .filter((model) => model.name === name)
    .sort((a, b) => Date.parse(a.created_at) - Date.parse(b.created_at));
}

function nextVersion(existing: readonly ModelJson[]): string {
  const numbers = existing.map((model) => Number(model.version)).filter(Number.isSafeInteger);
  return String(Math.max(0, ...numbers) + 1);
}

async function putBlob(
  transport: Transport,
  file: ModelFile | MemoryFile,
  signal?: AbortSignal,
): Promise<void> {
  const raw = {
    contentType: "application/octet-stream",
    sizeBytes: file.sizeBytes,
    open: () => file.open(),
  };
  const path = `/blobs/${file.digest}`;
  await transport.request(
    { method: "PUT", path, raw, timeoutMs: Number.POSITIVE_INFINITY },
    blobJsonSchema,
    signal,
  );
}

function putVersion(
  transport: Transport,
  { name, manifest = {}, signal }: PushModel,
  version: string,
  digest: string,
): Promise<ModelJson> {
  const path = `/models/${encodeURIComponent(name)}/versions/${encodeURIComponent(version)}`;
  const call = { method: "PUT", path, json: { file: digest, manifest }, timeoutMs: 120_000 } as const;
  return transport.request(call, modelJsonSchema, signal);
}

/** @returns undefined when the version has the same file but another manifest. */
async function putUnlessDifferent(
  transport: Transport,
  model: PushModel,
  version: string,
  digest: string,
): Promise<ModelJson | undefined> {
  try {
    return await putVersion(transport, model, version, digest);
  } catch (error) {
    if (error instanceof LegacyGpuError && error.code === "model_version_exists") return undefined;
    throw error;
  }
}

interface MemoryFile extends Omit<ModelFile, "open"> {
  open(): Uint8Array;
}

async function asModelFile(file: Uint8Array | ModelFile): Promise<ModelFile | MemoryFile> {
  if (!(file instanceof Uint8Array)) return file;
  return { digest: await digestOf(file), sizeBytes: file.byteLength, open: () => file };
}

/** `sha256:…` of some bytes; runs in Node and, on pages that came over HTTPS, in a browser. */
export async function digestOf(bytes: Uint8Array): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  const digits = Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0"));
  return `sha256:${digits.join("")}`;
}
