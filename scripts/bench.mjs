// `npm run bench -- NAME [--short] [--json] [--profile DIR]`: installs and builds what is missing, then runs bench/NAME.ts. The harness runs from
// source; what it measures runs as in production, from plain JavaScript built ahead.

import { spawn, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { build, checkNode, installIfStale, main, PrepareError, root } from "./prepare.mjs";

await main(async () => {
  checkNode();
  const [name, ...options] = process.argv.slice(2);
  const benches = findBenches();
  if (name === undefined || !benches.includes(name)) {
    const what = name === undefined ? "Which bench?" : `There is no bench ${name}.`;
    throw new PrepareError(`${what} There are: ${benches.join(", ")}.`);
  }
  installIfStale();
  build();
  buildProcesses();
  process.exitCode = await run(join("bench", `${name}.ts`), options);
});

/** The other files in bench/ are what benches share. */
function findBenches() {
  return readdirSync(join(root, "bench"))
    .filter((file) => file.endsWith(".ts"))
    .map((file) => file.slice(0, -".ts".length))
    .filter((name) => readFileSync(join(root, "bench", `${name}.ts`), "utf8").includes(`runBench("${name}"`))
    .sort();
}

function buildProcesses() {
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  const { status } = spawnSync(process.execPath, [compiler, "-p", "bench"], {
    cwd: root,
    stdio: ["ignore", 2, 2],
  });
  if (status !== 0) throw new PrepareError("The processes of the benches cannot be built; see above.");
}

function run(file, options) {
  const args = ["--conditions=source", "--import", "tsx", file, ...options];
  const child = spawn(process.execPath, args, { cwd: root, stdio: "inherit" });
  // The terminal tells the child too, and it ends its own children first.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
}
