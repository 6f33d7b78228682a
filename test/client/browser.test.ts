/** The SDK must load in a browser: nothing that its entry imports may need Node. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { imageType } from "../../client/index.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const ALLOWED_PACKAGES = new Set(["zod"]);

/** `import type` and `export type` leave no trace in JavaScript. */
const IMPORT = /^(?:import|export)\s+(?!type\b)[^"]*?\bfrom\s+"([^"]+)"|^import\s+"([^"]+)"/gm;

async function walk(file: string, seen: Map<string, string[]>): Promise<void> {
  if (seen.has(file)) return;
  const source = await readFile(file, "utf8");
  const imports = [...source.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? "");
  seen.set(file, imports);
  for (const specifier of imports) {
    const shared = /^@legacygpu\/shared\/(.+)$/.exec(specifier)?.[1];
    if (shared !== undefined) await walk(join(ROOT, "shared", `${shared}.ts`), seen);
    else if (specifier.startsWith(".")) await walk(join(dirname(file), specifier), seen);
  }
}

test("neither the SDK nor what it uses of shared imports Node or a package beside zod", async () => {
  const seen = new Map<string, string[]>();
  await walk(join(ROOT, "client", "index.ts"), seen);
  assert.ok(seen.size > 15, `only ${seen.size} files were found`);
  for (const [file, imports] of seen) {
    const foreign = imports.filter((name) => !name.startsWith(".") && !name.startsWith("@legacygpu/"));
    const forbidden = foreign.filter((name) => !ALLOWED_PACKAGES.has(name));
    assert.deepEqual(forbidden, [], relative(ROOT, file));
    const source = await readFile(file, "utf8");
    assert.doesNotMatch(source, /\b(Buffer|process)\./, `${relative(ROOT, file)} uses a global of Node`);
  }
});

test("pictures are told from their first bytes", () => {
  const cases: ReadonlyArray<readonly [string | undefined, string | readonly number[]]> = [
    ["image/png", [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]],
    ["image/jpeg", [0xff, 0xd8, 0xff, 0xe0]],
    ["image/webp", "RIFF\0\0\0\0WEBPVP8 "],
    ["image/gif", "GIF89a"],
    ["image/svg+xml", '<?xml version="1.0"?>\n<svg xmlns="x">'],
    ["image/avif", "\0\0\0\x20ftypavif"],
    [undefined, '{"inputs": []}'],
    [undefined, ""],
  ];
  for (const [type, start] of cases) {
    const bytes = typeof start === "string" ? new TextEncoder().encode(start) : Uint8Array.from(start);
    assert.equal(imageType(bytes), type, String(start));
  }
});
