/** That the tests which SECURITY.md and docs/asvs.md name exist: an answer there is worth what holds it. */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT } from "./source-files.ts";

const DOCUMENTS = ["SECURITY.md", "docs/asvs.md"];
/** `path: "name"`, between backticks. */
const MENTION = /`(test\/[\w./-]+\.test\.ts): "(.+?)"`/g;
/** A name in any quotes, as the file has it: one that is put together stands in a document as it is written there. */
const TEST = /\b(?:test|it)\(\s*(["'`])((?:\\.|(?!\1).)+)\1/gs;
const ANSWERS = ["yes", "partly", "no", "n/a"];

const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

const testsIn = (path: string): string[] =>
  [...read(path).matchAll(TEST)].map(([, , name = ""]) => name.replaceAll(/\\(["'`])/g, "$1"));

const mentionsIn = (text: string): { path: string; name: string }[] =>
  [...text.matchAll(MENTION)].map(([, path = "", name = ""]) => ({ path, name }));

interface Row {
  readonly number: string;
  readonly cells: readonly string[];
}

/** Rows that begin with a number of the standard. */
function assessedRows(): Row[] {
  return read("docs/asvs.md")
    .split("\n")
    .filter((line) => /^\| \d/.test(line))
    .map((line) => {
      const [number = "", ...cells] = line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim());
      return { number, cells };
    });
}

test("every test that the security documents name exists in the file that they name", () => {
  for (const document of DOCUMENTS) {
    const mentions = mentionsIn(read(document));
    assert.ok(mentions.length > 20, `${document} names ${mentions.length} tests`);
    const missing = mentions.filter(
      ({ path, name }) => !existsSync(join(ROOT, path)) || !testsIn(path).includes(name),
    );
    assert.deepEqual(missing, [], document);
  }
});

test("nothing that looks like the name of a test is written so that nobody checks it", () => {
  for (const document of DOCUMENTS) {
    const text = read(document);
    const names = text.match(/test\/[\w./-]+\.test\.ts(?=: ")/g) ?? [];
    assert.equal(names.length, mentionsIn(text).length, document);
  }
});

test("each requirement is answered once, and each answer that something is done has a test or says that it has none", () => {
  const rows = assessedRows();
  assert.ok(rows.length > 150);
  const numbers = rows.flatMap(({ number }) => number.split(", "));
  assert.deepEqual(
    numbers.filter((number, i) => numbers.indexOf(number) !== i),
    [],
  );
  for (const { number, cells } of rows) {
    const [, answer = "", , held = ""] = cells;
    assert.equal(cells.length, 4, number);
    assert.ok(ANSWERS.includes(answer), `${number}: ${answer}`);
    if (answer !== "n/a") assert.ok(held === "no test" || mentionsIn(held).length > 0, `${number}: ${held}`);
  }
});
