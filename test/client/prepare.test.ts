/** The step before `npm test` and `npm run quickstart`: which Node will do, and when an install is stale. */

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";

interface Prepare {
  checkNode(version?: string): void;
  staleInstall(folder: string): string | undefined;
}

// Plain JavaScript, since it runs before anything is installed.
const script = new URL("../../scripts/prepare.mjs", import.meta.url).href;
const { checkNode, staleInstall }: Prepare = await import(script);

const LOCK = {
  "": { name: "workspace" },
  shared: { name: "@legacygpu/shared" },
  "node_modules/@legacygpu/shared": { resolved: "shared", link: true },
  "node_modules/zod": { version: "4.6.7" },
  "node_modules/other-system": { version: "1.0.0", optional: true },
  "shared/node_modules/zod": { version: "3.0.0" },
};

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "legacygpu-prepare-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function write(file: string, packages: Record<string, object>): Promise<void> {
  await mkdir(join(folder, "node_modules"), { recursive: true });
  await writeFile(join(folder, file), JSON.stringify({ packages }));
}

async function install(packages: Record<string, object>): Promise<string | undefined> {
  await write("package-lock.json", LOCK);
  await write("node_modules/.package-lock.json", packages);
  for (const path of Object.keys(packages)) await mkdir(join(folder, path), { recursive: true });
  return staleInstall(folder);
}

test("old versions of Node are refused with the least that will do", () => {
  for (const version of ["20.18.1", "20.20.2", "22.0.0", "24.1.0"]) checkNode(version);
  for (const version of ["18.20.4", "20.18.0", "20.9.0"]) {
    assert.throws(
      () => checkNode(version),
      new RegExp(`Node ${version} is too old: legacygpu needs 20\\.18\\.1`),
    );
  }
});

test("a complete install is left alone, without the packages of other systems", async () => {
  const { "node_modules/other-system": _, ...installed } = LOCK;
  assert.equal(await install(installed), undefined);
});

test("no install, one that was broken off, a missing package and another version are stale", async () => {
  await write("package-lock.json", LOCK);
  await rm(join(folder, "node_modules"), { recursive: true });
  assert.equal(staleInstall(folder), "none yet");
  const { "shared/node_modules/zod": _, ...withoutOne } = LOCK;
  assert.equal(await install(withoutOne), "zod is missing");
  assert.equal(await install({ ...LOCK, "node_modules/zod": { version: "4.0.0" } }), "zod has changed");
  await rm(join(folder, "node_modules/zod"), { recursive: true });
  assert.equal(staleInstall(folder), "zod is missing");
});

test("without a lock file nothing can be told", () => {
  assert.throws(() => staleInstall(folder), /package-lock\.json cannot be read/);
});
