/** The source files of the product and what each of them imports, and every text of the repository. */

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

export const ROOT = resolve(import.meta.dirname, "../..");
export const PACKAGES = ["shared", "certs", "gateway", "agent", "client"] as const;

export interface SourceFile {
  /** Relative to the repository, with forward slashes. */
  readonly path: string;
  readonly text: string;
  /** Specifiers of value imports; relative ones and those of our packages resolved to paths. */
  readonly imports: readonly string[];
  /** The same for `import type`. */
  readonly typeImports: readonly string[];
}

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s+(type\s+)?(?:[\w*{}\s,$]+?\s+from\s+)?["']([^"']+)["']|import\(\s*["']([^"']+)["']\s*\)/g;

export function sourceFiles(): SourceFile[] {
  return PACKAGES.flatMap((folder) => walk(join(ROOT, folder))).map(readSource);
}

function walk(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === "node_modules" || entry.name === "dist") return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return walk(path);
    return /\.ts$/.test(entry.name) && !entry.name.endsWith(".d.ts") ? [path] : [];
  });
}

/** Whatever somebody wrote, in all folders: code, scripts, settings, documents. */
export function textFiles(): { readonly path: string; readonly text: string }[] {
  return walkTexts(ROOT).map((path) => ({ path: toPath(path), text: readFileSync(path, "utf8") }));
}

const NOT_OURS = new Set(["node_modules", "dist", ".git", ".cache"]);
const TEXT_FILE = /(\.(c|cjs|js|json|md|mjs|mts|npmrc|py|sh|toml|ts|ya?ml)|^[^.]+)$/;

function walkTexts(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (NOT_OURS.has(entry.name) || entry.name === "package-lock.json") return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return walkTexts(path);
    return entry.isFile() && TEXT_FILE.test(entry.name) ? [path] : [];
  });
}

function readSource(path: string): SourceFile {
  const text = readFileSync(path, "utf8");
  const imports: string[] = [];
  const typeImports: string[] = [];
  for (const [, type, fixed, dynamic] of text.matchAll(IMPORT)) {
    const specifier = fixed ?? dynamic;
    if (specifier !== undefined)
      (type === undefined ? imports : typeImports).push(resolveImport(path, specifier));
  }
  return { path: toPath(path), text, imports, typeImports };
}

function resolveImport(from: string, specifier: string): string {
  if (specifier.startsWith(".")) return toPath(resolve(dirname(from), specifier));
  const own = /^@legacygpu\/(\w+)(?:\/(.+))?$/.exec(specifier);
  return own === null ? specifier : `${own[1]}/${own[2] ?? "main"}.ts`;
}

const toPath = (absolute: string): string => relative(ROOT, absolute).replaceAll("\\", "/");
