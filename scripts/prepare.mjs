// Makes a fresh checkout ready: checks Node, installs what package-lock.json names, builds. Plain JavaScript without imports from
// node_modules, since it runs before there are any.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

const LEAST_NODE = [20, 18, 1];

export function checkNode(version = process.versions.node) {
  const parts = version.split(".").map(Number);
  const firstDifference = LEAST_NODE.findIndex((least, i) => parts[i] !== least);
  if (firstDifference === -1 || parts[firstDifference] > LEAST_NODE[firstDifference]) return;
  throw new PrepareError(
    `Node ${version} is too old: legacygpu needs ${LEAST_NODE.join(".")} or newer (20 LTS or 22 LTS). See https://nodejs.org.`,
  );
}

/** An error that is a message for the person at the terminal. */
export class PrepareError extends Error {}

export function installIfStale() {
  const reason = staleInstall(root);
  if (reason === undefined) return;
  console.error(`Installing dependencies (${reason}) …`);
  runNpm(["ci", "--no-audit", "--no-fund"]);
}

/**
 * What is installed is compared with package-lock.json entry by entry, not by date or by a stamp of our own: so an install that
 * somebody made by hand counts, and one that was broken off does not.
 *
 * @returns why the install is stale; undefined when it is not.
 */
export function staleInstall(folder) {
  const wanted = readPackages(join(folder, "package-lock.json"));
  if (wanted === undefined) throw new PrepareError(`${join(folder, "package-lock.json")} cannot be read.`);
  // npm writes this file last.
  const installed = readPackages(join(folder, "node_modules", ".package-lock.json"));
  if (installed === undefined) return "none yet";
  for (const [path, { version, resolved, optional, link }] of Object.entries(wanted)) {
    if (!path.startsWith("node_modules/") && !path.includes("/node_modules/")) continue;
    const found = installed[path];
    // Packages for other systems are in the lock file and rightly not here.
    if (found === undefined && optional) continue;
    const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
    if (found === undefined || !existsSync(join(folder, path))) return `${name} is missing`;
    if (link ? found.resolved !== resolved : found.version !== version) return `${name} has changed`;
  }
  return undefined;
}

function readPackages(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8")).packages;
  } catch {
    return undefined;
  }
}

/** The compiler itself knows what is stale; when nothing is, this takes a fraction of a second. */
export function build() {
  const isFirst = !existsSync(join(root, "client", "dist", "cli", "main.js"));
  if (isFirst) console.error("Building …");
  runNpm(["run", "--silent", "build"]);
}

function runNpm(args) {
  // npm hands its own path to the scripts that it runs; without it, npm is a script of the shell on Windows.
  const cli = process.env.npm_execpath;
  const isJs = cli !== undefined && /npm-cli\.[cm]?js$/.test(cli);
  const [command, allArgs] = isJs ? [process.execPath, [cli, ...args]] : ["npm", args];
  const shell = !isJs && process.platform === "win32";
  const { status, error } = spawnSync(command, allArgs, { cwd: root, stdio: ["ignore", 2, 2], shell });
  if (error !== undefined) throw new PrepareError(`npm cannot be run: ${error.message}`);
  if (status !== 0) throw new PrepareError(`npm ${args.join(" ")} failed; its output is above.`);
}

/** Runs the main function of a script; a PrepareError is told without a stack. */
export async function main(run) {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof PrepareError)) throw error;
    console.error(`error: ${error.message}`);
    process.exitCode = 1;
  }
}
