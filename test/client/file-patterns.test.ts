/** Which files a pattern stands for: names of every kind, folders, links, and what must be refused. */

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { expandFiles, matcher } from "../../client/cli/file-patterns.ts";

const FILES = [
  "a.jpg",
  "b.jpg",
  "b.png",
  "b10.jpg",
  "b[1].jpg",
  "c.jpeg",
  ".hidden.jpg",
  "deep/a.jpg",
  "deep/er/a.jpg",
  "deep/er/z.png",
  ".secret/a.jpg",
  "other/er/a.jpg",
];

let folder = "";

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "legacygpu-patterns-"));
  for (const file of FILES) {
    await mkdir(join(folder, file, ".."), { recursive: true });
    await writeFile(join(folder, file), "x");
  }
  await mkdir(join(folder, "folder.jpg"));
  await symlink(join(folder, "a.jpg"), join(folder, "link.jpg"));
  await symlink(join(folder, "deep"), join(folder, "round"));
  await symlink(folder, join(folder, "deep", "loop"));
});
after(() => rm(folder, { recursive: true, force: true }));

async function expand(...patterns: string[]): Promise<string[]> {
  const found = await expandFiles(patterns.map((pattern) => join(folder, pattern)));
  return found.map((file) => relative(folder, file));
}

test("patterns within a name; hidden files, folders and other endings stay out", async () => {
  const jpg = ["a.jpg", "b.jpg", "b10.jpg", "b[1].jpg", "link.jpg"];
  assert.deepEqual(await expand("*.jpg"), jpg);
  assert.deepEqual(await expand("?.jpg"), ["a.jpg", "b.jpg"]);
  assert.deepEqual(await expand("[b-z].jpg"), ["b.jpg"]);
  assert.deepEqual(await expand("[!b].jpg"), ["a.jpg"]);
  assert.deepEqual(await expand("[ab].{jpg,png}"), ["a.jpg", "b.jpg", "b.png"]);
  assert.deepEqual(await expand("*.{jp*g,png}"), [...jpg, "b.png", "c.jpeg"].sort());
  assert.deepEqual(await expand(".*.jpg"), [".hidden.jpg"]);
});

test("patterns over folders: one level follows links, ** does not, and stays out of hidden ones", async () => {
  assert.deepEqual(await expand("*/a.jpg"), ["deep/a.jpg", "round/a.jpg"]);
  assert.deepEqual(await expand("*/er/*.jpg"), ["deep/er/a.jpg", "other/er/a.jpg", "round/er/a.jpg"]);
  assert.deepEqual(await expand("**/a.jpg"), ["a.jpg", "deep/a.jpg", "deep/er/a.jpg", "other/er/a.jpg"]);
  assert.deepEqual(await expand("**/**/er/**/a.jpg"), ["deep/er/a.jpg", "other/er/a.jpg"]);
  assert.deepEqual(await expand("deep/**"), ["deep/a.jpg", "deep/er/a.jpg", "deep/er/z.png"]);
});

test("several patterns and names: in their order, each file once, a name as it is written", async () => {
  assert.deepEqual(await expand("b.png", "a.jpg", "b.*", "b[1].jpg"), [
    "b.png",
    "a.jpg",
    "b.jpg",
    "b[1].jpg",
  ]);
});

test("what fits no file, and a folder, are refused by name", async () => {
  for (const pattern of ["*.gif", "missing.jpg", "no/such/*.jpg", "a.jpg/*"]) {
    await assert.rejects(expand("a.jpg", pattern), { code: "input_invalid", message: /fits no file/ });
  }
  await assert.rejects(expand("deep"), { code: "input_invalid", message: /deep is a folder: .*deep\/\*/ });
  await assert.rejects(expand("[z-a].jpg"), { code: "input_invalid", message: /is no pattern/ });
});

const name = fc
  .string({ unit: fc.constantFrom(..."ab1.+$^()|\\-_ü😀"), minLength: 1, maxLength: 8 })
  .filter((text) => !text.startsWith("."));

test("characters without a meaning stand for themselves", () => {
  fc.assert(
    fc.property(name, name, (pattern, other) => {
      assert.equal(matcher(pattern)(pattern), true);
      assert.equal(matcher(pattern)(other), pattern === other);
    }),
  );
});

test("* is any number of characters and ? is one", () => {
  fc.assert(
    fc.property(name, name, name, (start, middle, end) => {
      const whole = `${start}${middle}${end}`;
      assert.equal(matcher(`${start}*${end}`)(whole), true);
      assert.equal(matcher(`${start}*${end}`)(`${start}${end}`), true);
      assert.equal(matcher("?".repeat([...whole].length))(whole), true);
      assert.equal(matcher("?".repeat([...whole].length + 1))(whole), false);
      assert.equal(matcher(`*${end}`)(`${start}${end}X`), false);
      assert.equal(matcher(`${start}*`)(`X${start}`), start.startsWith("X"));
    }),
  );
});
