// `npm test [-- FILTER … [--test-… flags]]`: installs what is missing, then runs every test/**/*.test.ts whose path contains one of the
// filters; names the skipped tests at the end, so that none is skipped silently.

import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { checkNode, installIfStale, main, PrepareError, root } from "./prepare.mjs";
import { installForTests } from "./test-machine.mjs";

await main(async () => {
  checkNode();
  installIfStale();
  const given = process.argv.slice(2);
  const files = chosenFiles(given.filter((arg) => !arg.startsWith("-")));
  installForTests(files);
  const folder = mkdtempSync(join(tmpdir(), "legacygpu-skipped-"));
  try {
    const skippedFile = join(folder, "skipped");
    process.exitCode = await runTests(
      files,
      given.filter((arg) => arg.startsWith("-")),
      skippedFile,
    );
    reportSkipped(readFileSync(skippedFile, "utf8"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

// Node 20 expands no patterns after --test.
function chosenFiles(filters) {
  const all = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".test.ts"))
    .map((path) => join("test", path))
    .sort();
  const wanted = filters.map((filter) => relative(root, join(process.cwd(), filter)));
  const isChosen = (path) =>
    filters.some((filter, i) => path.includes(filter.split("/").join(sep)) || path === wanted[i]);
  const chosen = filters.length === 0 ? all : all.filter(isChosen);
  if (chosen.length === 0)
    throw new PrepareError(`No test file matches ${filters.join(" ") || "test/**/*.test.ts"}.`);
  return chosen;
}

function runTests(files, flags, skippedFile) {
  const reporter = pathToFileURL(join(root, "scripts", "skipped-reporter.mjs")).href;
  const args = [
    "--conditions=source",
    "--import",
    "tsx",
    "--test",
    "--test-concurrency=2",
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
    `--test-reporter=${reporter}`,
    `--test-reporter-destination=${skippedFile}`,
    ...flags,
    ...files,
  ];
  const child = spawn(process.execPath, args, { cwd: root, stdio: "inherit" });
  // The terminal tells the child too; it decides what becomes of the tests.
  process.on("SIGINT", () => {});
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
}

function reportSkipped(lines) {
  const skipped = lines.split("\n").filter((line) => line !== "");
  if (skipped.length === 0) return;
  console.log(`\n${skipped.length} skipped:`);
  for (const line of skipped) console.log(`  ${line}`);
}
