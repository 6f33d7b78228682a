import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ERROR_CATALOGUE } from "@legacygpu/shared/errors";
import { TASK_MOVES, TASK_STATES } from "@legacygpu/shared/task";
import { VERSION } from "@legacygpu/shared/version";
import { PACKAGES, ROOT } from "./source-files.ts";

const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

test("docs/errors.md has a row for each code, with its status and whether to try again", () => {
  const rows = [...read("docs/errors.md").matchAll(/^\| `(\w+)` \| (\d+) \| (yes|no) \| (.*?) \|/gm)];
  const documented = rows.map(([, code, status, again, message]) => [
    code,
    Number(status),
    again === "yes",
    message,
  ]);
  const catalogue = Object.entries(ERROR_CATALOGUE).map(([code, { status, retryable, message }]) => [
    code,
    status,
    retryable,
    message,
  ]);
  assert.deepEqual(documented, catalogue);
});

test("the state table in ARCHITECTURE.md is the one in the code", () => {
  const table = new Map<string, string[]>();
  for (const [, from = "", to = ""] of read("ARCHITECTURE.md").matchAll(
    /^\| ((?:`[A-Z_]+`(?:, )?)+) \| (.*) \|$/gm,
  )) {
    for (const state of statesIn(from)) table.set(state, statesIn(to));
  }
  assert.deepEqual(Object.fromEntries(TASK_STATES.map((state) => [state, table.get(state)])), TASK_MOVES);
});

test("every package has the version that the program reports", () => {
  for (const name of PACKAGES) {
    assert.equal((JSON.parse(read(`${name}/package.json`)) as { version: string }).version, VERSION, name);
  }
});

test("the lock file names no download addresses", () => {
  assert.doesNotMatch(read("package-lock.json"), /"resolved": "http/);
});

const statesIn = (text: string): string[] =>
  [...text.matchAll(/`([A-Z_]+)`/g)].map(([, state]) => state ?? "");
