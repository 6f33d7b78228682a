/**
 * Files by name and by pattern, for shells that do not expand patterns themselves and for more files than fit into a command.
 *
 * `*` and `?` stand for characters within a name, `[a-z]` and `[!a-z]` for one of some, `{jpg,png}` for one of several endings, `**` for
 * any number of folders. Hidden names must be asked for with a dot, and links to folders are not followed by `**`.
 */

import type { Dirent } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join, parse, sep } from "node:path";
import { fail } from "@legacygpu/shared/errors";

/** In the order of the patterns, those of one pattern by name; each file once. @throws `input_invalid` for a pattern that fits no file. */
export async function expandFiles(patterns: readonly string[]): Promise<string[]> {
  const files = new Set<string>();
  for (const pattern of patterns) {
    for (const file of await filesFor(pattern)) files.add(file);
  }
  return [...files];
}

async function filesFor(pattern: string): Promise<string[]> {
  // A file may be called `a[1].jpg`: what is there is meant as it is written.
  const found = await stat(pattern).catch(() => undefined);
  if (found?.isFile()) return [pattern];
  if (found?.isDirectory()) {
    throw fail("input_invalid", `${pattern} is a folder: name its files, such as '${join(pattern, "*")}'.`, {
      pattern,
    });
  }
  const { root } = parse(pattern);
  const files = await matches(root, segmentsOf(pattern.slice(root.length)));
  if (files.length > 0) return files.sort();
  throw fail("input_invalid", `${pattern} fits no file.`, { pattern });
}

/** Several `**` in a row are one: each would search the same folders again. */
function segmentsOf(pattern: string): string[] {
  const segments = pattern.split(sep === "/" ? "/" : /[\\/]/).filter((segment) => segment !== "");
  return segments.filter((segment, i) => segment !== "**" || segments[i - 1] !== "**");
}

async function matches(folder: string, [first, ...rest]: readonly string[]): Promise<string[]> {
  if (first === undefined) return [];
  if (first === "**") return matchesBelow(folder, rest);
  if (rest.length === 0) {
    const names = (await entriesOf(folder)).map(({ name }) => name).filter(matcher(first));
    return onlyFiles(names.map((name) => join(folder, name)));
  }
  if (!isPattern(first)) return matches(join(folder, first), rest);
  const folders = await foldersIn(folder, matcher(first));
  return (await Promise.all(folders.map((each) => matches(each, rest)))).flat();
}

/** `**` at the end means every file below. */
async function matchesBelow(folder: string, rest: readonly string[]): Promise<string[]> {
  const here = await matches(folder, rest.length === 0 ? ["*"] : rest);
  const entries = await entriesOf(folder);
  const folders = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith("."));
  const below = await Promise.all(folders.map(({ name }) => matchesBelow(join(folder, name), rest)));
  return [...here, ...below.flat()];
}

async function foldersIn(folder: string, isWanted: (name: string) => boolean): Promise<string[]> {
  const paths = (await entriesOf(folder))
    .filter(({ name }) => isWanted(name))
    .map(({ name }) => join(folder, name));
  const isFolder = await Promise.all(paths.map((path) => kindOf(path, "isDirectory")));
  return paths.filter((_, i) => isFolder[i]);
}

async function onlyFiles(paths: readonly string[]): Promise<string[]> {
  const isFile = await Promise.all(paths.map((path) => kindOf(path, "isFile")));
  return paths.filter((_, i) => isFile[i]);
}

/** Of what a link leads to. */
async function kindOf(path: string, kind: "isFile" | "isDirectory"): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.[kind]() ?? false;
}

/** A folder that cannot be read has nothing that fits. */
async function entriesOf(folder: string): Promise<Dirent[]> {
  return readdir(folder === "" ? "." : folder, { withFileTypes: true }).catch(() => []);
}

function isPattern(segment: string): boolean {
  return /[*?[\]{}]/.test(segment);
}

/** Whether a name of a file or folder fits one segment of a pattern. @throws `input_invalid` */
export function matcher(segment: string): (name: string) => boolean {
  const expression = compile(segment);
  const wantsHidden = segment.startsWith(".");
  return (name) => expression.test(name) && (wantsHidden || !name.startsWith("."));
}

function compile(segment: string): RegExp {
  try {
    return new RegExp(`^${expressionOf(segment)}$`, "su");
  } catch (error) {
    throw fail("input_invalid", `${segment} is no pattern for files.`, { pattern: segment }, error);
  }
}

const TOKEN = /\*+|\?|\[(!?)([^\]]+)\]|\{([^{}]*)\}|./gsu;

function expressionOf(segment: string): string {
  return segment.replace(TOKEN, (token, not?: string, range?: string, choices?: string) => {
    if (token.startsWith("*")) return ".*";
    if (token === "?") return ".";
    if (range !== undefined) return `[${not === "!" ? "^" : ""}${range.replace(/[\\\]^[]/g, "\\$&")}]`;
    if (choices !== undefined) return `(?:${choices.split(",").map(expressionOf).join("|")})`;
    return token.replace(/[\\^$.*+?()[\]{}|/]/, "\\$&");
  });
}
