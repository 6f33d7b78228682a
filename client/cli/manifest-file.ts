/** A manifest in a file: read, checked, and its errors with line and column, also those that only the gateway can find. */

import { readFile } from "node:fs/promises";
import { nearest } from "@legacygpu/shared/config/nearest";
import { fail, LegacyGpuError } from "@legacygpu/shared/errors";
import { type Manifest, manifestSchema } from "@legacygpu/shared/manifest";
import { MANIFEST_FIELDS } from "@legacygpu/shared/manifest-schema";
import type { z } from "zod";
import { type JsonPath, JsonPlaces } from "./json-places.ts";

/** Before the path of a field in what the gateway says about a manifest. */
const GATEWAY_PREFIX = "manifest.";

export interface ManifestFile {
  readonly manifest: Manifest;
  /** The gateway's error about the manifest with file, line and column; any other as it is. */
  explain(error: unknown): unknown;
}

/** @throws `input_invalid` naming file, line, column and field */
export async function openManifest(path: string): Promise<ManifestFile> {
  const text = await readText(path);
  const places = new JsonPlaces(text);
  if (places.fault !== undefined) {
    const { line, column, expected } = places.fault;
    throw fail("input_invalid", `${path}:${line}:${column}: this is not JSON: expected ${expected}`, {
      file: path,
      line,
      column,
    });
  }
  const parsed = manifestSchema.safeParse(JSON.parse(text));
  if (!parsed.success) throw invalid(path, places, parsed.error.issues);
  return { manifest: parsed.data, explain: (error) => explained(error, path, places) };
}

/** Throws like {@link openManifest}. */
export async function readManifest(path: string): Promise<Manifest> {
  return (await openManifest(path)).manifest;
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const message = `The manifest ${path} cannot be read: ${(error as Error).message}`;
    throw fail("input_invalid", message, { file: path }, error);
  }
}

/** A key that is misspelt comes before the one that is missing by it. */
function invalid(file: string, places: JsonPlaces, issues: readonly z.core.$ZodIssue[]): LegacyGpuError {
  const issue = issues.find(({ code }) => code === "unrecognized_keys") ?? issues[0];
  const parent = (issue?.path ?? []) as (string | number)[];
  const unknownKey = issue?.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  const path = unknownKey === undefined ? parent : [...parent, unknownKey];
  const what = unknownKey === undefined ? `: ${issue?.message}` : ` is unknown${suggestion(path)}`;
  const { line, column } = places.find(path);
  const field = fieldText(path) || "the manifest";
  return fail("input_invalid", `${file}:${line}:${column}: ${field}${what}`, {
    file,
    line,
    column,
    path: field,
  });
}

/** Of the fields beside the one that is unknown. */
function suggestion(path: JsonPath): string {
  const siblings = Object.keys(MANIFEST_FIELDS)
    .map((field) => pathOf(field.replaceAll("[]", "[0]")))
    .filter((known) => known.length === path.length && isSame(known.slice(0, -1), path.slice(0, -1)))
    .map((known) => String(known.at(-1)));
  const meant = nearest(String(path.at(-1)), siblings);
  return meant === undefined ? `; there are ${siblings.join(", ")}` : `: did you mean ${meant}?`;
}

/** Every element of a list has the same fields. */
function isSame(known: JsonPath, given: JsonPath): boolean {
  return known.every((part, at) => part === given[at] || (part === 0 && typeof given[at] === "number"));
}

function explained(error: unknown, file: string, places: JsonPlaces): unknown {
  if (!(error instanceof LegacyGpuError) || typeof error.details.path !== "string") return error;
  const { code, message, details } = error;
  if (!error.details.path.startsWith(GATEWAY_PREFIX)) return error;
  const { line, column } = places.find(pathOf(error.details.path.slice(GATEWAY_PREFIX.length)));
  return fail(code, `${file}:${line}:${column}: ${message}`, { ...details, file, line, column }, error);
}

/** `golden[0].label` */
function fieldText(path: JsonPath): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`;
    return text === "" ? part : `${text}.${part}`;
  }, "");
}

function pathOf(field: string): JsonPath {
  return [...field.matchAll(/([^.[\]]+)|\[(\d+)\]/g)].map(([, key, index]) => key ?? Number(index));
}
