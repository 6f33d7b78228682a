/** Sends a model to the gateway: its file by digest, then the version that names it, then the alias. */

import {
  aliasJsonSchema,
  type ModelJson,
  modelJsonSchema,
  modelListSchema,
} from "@legacygpu/shared/api/models";
import { LegacyGpuError } from "@legacygpu/shared/errors";
import type { Manifest } from "@legacygpu/shared/manifest";
import { assertNames } from "./model-names.ts";
import {
  type HeldFile,
  type ModelFile,
  type PushFileOptions,
  type PushFileTools,
  pushFile,
} from "./push-file.ts";
import type { Transport } from "./transport.ts";

export interface PushModel extends PushFileOptions {
  readonly name: string;
  /**
   * Default: the newest version when it has the same contents, otherwise one more than the highest numbered version;
   * "1" for a new model.
   */
  readonly version?: string;
  readonly file: Uint8Array | ModelFile;
  readonly manifest?: Partial<Manifest>;
  /** Points to this version from then on. */
  readonly alias?: string;
}

export async function pushModel(tools: PushFileTools, model: PushModel): Promise<ModelJson> {
  assertNames(model);
  const { transport } = tools;
  const file = await asModelFile(model.file);
  const existing = model.version === undefined ? await versionsOf(transport, model) : [];
  if (!existing.some((version) => version.file === file.digest)) await pushFile(file, model, tools);
  let pushed: ModelJson;
  try {
    pushed = await putSomeVersion(transport, model, existing, file.digest);
  } catch (error) {
    // The version that had the file was removed in this moment.
    if (!isCode(error, "blob_not_found")) throw error;
    await pushFile(file, model, tools);
    pushed = await putSomeVersion(transport, model, existing, file.digest);
  }
  return model.alias === undefined ? pushed : putAlias(transport, model, model.alias, pushed);
}

async function putSomeVersion(
  transport: Transport,
  model: PushModel,
  existing: readonly ModelJson[],
  digest: string,
): Promise<ModelJson> {
  if (model.version !== undefined) return putVersion(transport, model, model.version, digest);
  const newest = existing.at(-1);
  if (newest?.file === digest) {
    const same = await putUnlessDifferent(transport, model, newest.version, digest);
    if (same !== undefined) return same;
  }
  return putVersion(transport, model, nextVersion(existing), digest);
}

async function putAlias(
  transport: Transport,
  { name, signal }: PushModel,
  alias: string,
  pushed: ModelJson,
): Promise<ModelJson> {
  const path = `/models/${encodeURIComponent(name)}/aliases/${encodeURIComponent(alias)}`;
  const call = { method: "PUT", path, json: { version: pushed.version } } as const;
  await transport.request(call, aliasJsonSchema, signal);
  return { ...pushed, aliases: [...new Set([...pushed.aliases, alias])] };
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
    if (isCode(error, "model_version_exists")) return undefined;
    throw error;
  }
}

function isCode(error: unknown, code: LegacyGpuError["code"]): boolean {
  return error instanceof LegacyGpuError && error.code === code;
}

async function asModelFile(file: Uint8Array | ModelFile): Promise<ModelFile | HeldFile> {
  if (!(file instanceof Uint8Array)) return file;
  return { digest: await digestOf(file), sizeBytes: file.byteLength, bytes: file };
}

/** `sha256:…` of some bytes; runs in Node and, on pages that came over HTTPS, in a browser. */
export async function digestOf(bytes: Uint8Array): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  const digits = Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0"));
  return `sha256:${digits.join("")}`;
}
