/** That the table of hazards names tests that exist, and leaves out none of those beside it. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const FOLDER = import.meta.dirname;

const testsIn = (file: string): string[] =>
  [...readFileSync(join(FOLDER, `${file}.test.ts`), "utf8").matchAll(/^test\("(.+?)",/gm)].map(
    ([, name]) => name ?? "",
  );

test("every row of the table has its test, and every test its row", () => {
  const rows = [
    ...readFileSync(join(FOLDER, "README.md"), "utf8").matchAll(/^\|.*\| `([\w./-]+)`: (.+) \|$/gm),
  ].map(([, file = "", name = ""]) => ({ file, name }));
  assert.ok(rows.length > 30);
  const unknown = rows.filter(({ file, name }) => !testsIn(file).includes(name));
  assert.deepEqual(unknown, []);
  const files = readdirSync(FOLDER)
    .filter((name) => name.endsWith(".test.ts") && name !== "hazards-table.test.ts")
    .map((name) => name.replace(".test.ts", ""));
  const untold = files.flatMap((file) =>
    testsIn(file)
      .filter((name) => !rows.some((row) => row.file === file && row.name === name))
      .map((name) => `${file}: ${name}`),
  );
  assert.deepEqual(untold, []);
});
