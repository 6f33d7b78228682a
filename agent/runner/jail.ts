/**
 * What keeps a runner, and the model in it, away from the rest of the machine: found out once, when the agent starts.
 *
 * | measure    | what the runner cannot do                           | needs                                        |
 * | ---------- | --------------------------------------------------- | -------------------------------------------- |
 * | cwd        | find files of others where it stands                | nothing                                      |
 * | memory     | take more than its share                            | Linux                                        |
 * | privileges | become more than it is; as root: use a capability   | `setpriv`                                    |
 * | network    | reach anybody                                       | `unshare` as root, or user namespaces        |
 * | models     | change the files of models                          | root that may mount, or user namespaces       |
 * | secrets    | see the agent's files and environment               | the same, and `setpriv`                      |
 * | user       | touch what is the agent's                           | root and `runnerUser`                        |
 *
 * A measure counts when a process on trial was found to be under it, and the engine still reached its devices. What cannot be had is left out: a runner without a network
 * namespace is better than none.
 */

import { execFile } from "node:child_process";
import { chmod, chown, mkdir, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { totalmem } from "node:os";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import { fail } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import { z } from "zod";
import { JailCommand, type RunnerUser, type ToolMeasure } from "./jail-command.ts";
import { canWatchMemory } from "./memory-watch.ts";

export type JailMeasure = "cwd" | "memory" | ToolMeasure;

export interface Jail {
  /** What was found to work here. */
  readonly measures: readonly JailMeasure[];
  /** The command that puts what follows it into the jail; empty where there is none. */
  readonly prefix: readonly string[];
  /** Where each runner gets an empty folder of its own. */
  readonly folder: string;
  /** Who those folders belong to, when not to us. */
  readonly owner?: RunnerUser | undefined;
  readonly maxMemoryBytes?: number | undefined;
}

export interface JailOptions {
  readonly stateDir: string;
  /** Below `stateDir`. */
  readonly modelsDir: string;
  /** The whole environment of the trial; must hold no credential. */
  readonly env: NodeJS.ProcessEnv;
  readonly maxMemoryBytes: number;
  /** A name or number. Only root can give a process to somebody else. */
  readonly user?: string | undefined;
  /** Whether the runners can do their work behind such a command. */
  suits(prefix: readonly string[]): Promise<boolean>;
  /** Where the tools are looked for. Default: the system's folders. */
  readonly toolFolders?: readonly string[] | undefined;
  readonly log: Logger;
}

const TRIAL_LIMIT_MS = 10_000;
const MEMORY_SHARE = 0.8;
const MIN_DEFAULT_MEMORY_BYTES = 1024 ** 3;
const TOOL_FOLDERS = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
const DEVICE_GROUPS = ["render", "video"];
const RUNNERS = "runners";

/** Run by Node.js inside: reads a model's file, and reports what else it could do. An agent's environment may hold its key. */
const TRIAL = `
  const fs = require("node:fs");
  const [file, secret] = process.argv.slice(1);
  fs.readFileSync(file);
  fs.writeFileSync("trial", "");
  fs.rmSync("trial");
  const status = fs.readFileSync("/proc/self/status", "utf8");
  const can = (what) => { try { what(); return true; } catch { return false; } };
  const secrets = [secret, "../../" + require("node:path").basename(secret), "/proc/" + process.ppid + "/environ"];
  const interfaces = Object.values(require("node:os").networkInterfaces()).flat();
  process.stdout.write(JSON.stringify({
    uid: process.getuid(),
    canChange: can(() => fs.closeSync(fs.openSync(file, "r+"))),
    canSeeSecrets: secrets.some((each) => can(() => fs.readFileSync(each))),
    canConnect: interfaces.some((each) => !each.internal),
    canRise: !/^NoNewPrivs:\\s*1$/m.test(status) || !/^CapEff:\\s*0+$/m.test(status),
  }));
`;
const findingsSchema = z.object({
  uid: z.number(),
  canChange: z.boolean(),
  canSeeSecrets: z.boolean(),
  canConnect: z.boolean(),
  canRise: z.boolean(),
});
type Findings = z.infer<typeof findingsSchema>;

/** An equal share of four fifths of the memory that there is, of the control group's where that is less. */
export function defaultMemoryLimit(slots: number): number {
  const constrained = process.constrainedMemory();
  const machineBytes = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return Math.max(MIN_DEFAULT_MEMORY_BYTES, Math.floor((machineBytes * MEMORY_SHARE) / slots));
}

/** @throws `config_invalid` when there is no such user, or it cannot be had. */
export async function openJail(options: JailOptions): Promise<Jail> {
  const { stateDir, modelsDir, maxMemoryBytes, log } = options;
  const folder = join(stateDir, RUNNERS);
  // What an agent left behind that was killed.
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await mkdir(modelsDir, { recursive: true });
  const owner = options.user === undefined ? undefined : await prepareUser(options.user, options);
  const command = new JailCommand({
    stateDir: await realpath(stateDir),
    modelsDir: relative(stateDir, modelsDir),
    runnersDir: RUNNERS,
    owner,
    toolFolders: options.toolFolders ?? TOOL_FOLDERS,
  });
  const found = await tryMeasures(command, owner, options);
  if (owner !== undefined && !found.includes("user"))
    throw fail("config_invalid", `The runners cannot run as \`${options.user}\` here; leave that out.`);
  const measures: JailMeasure[] = ["cwd", ...(canWatchMemory() ? ["memory" as const] : []), ...found];
  log.info({ measures, maxMemoryBytes }, "what the runners are kept from");
  if (owner === undefined && !found.includes("secrets"))
    log.warn("The runners can read the agent's own files: nothing on this system can hide these from them.");
  return { measures, prefix: command.prefix(found), folder, owner, maxMemoryBytes };
}

/** All at once, which mostly works; otherwise those that work together, in this order. */
async function tryMeasures(
  command: JailCommand,
  owner: RunnerUser | undefined,
  { stateDir, modelsDir, env, suits, log }: JailOptions,
): Promise<ToolMeasure[]> {
  const file = join(modelsDir, "trial");
  const secret = join(stateDir, "trial");
  const cwd = join(stateDir, RUNNERS, "trial");
  await writeFile(file, "", { mode: 0o640 });
  await writeFile(secret, "", { mode: 0o600 });
  await mkdir(cwd, { mode: 0o700 });
  if (owner !== undefined) await chown(cwd, owner.uid, owner.gid);
  const isUnder = async (measures: readonly ToolMeasure[]): Promise<boolean> => {
    const prefix = command.prefix(measures);
    const findings = await trial([...prefix, process.execPath, "-e", TRIAL, file, secret], cwd, env);
    if (typeof findings === "string") {
      log.debug({ measures, reason: findings }, "a jail that cannot be had here");
      return false;
    }
    return measures.every((each) => hasTaken(each, findings, owner)) && suits(prefix);
  };
  try {
    const candidates = command.candidates();
    if (candidates.length === 0 || (await isUnder(candidates))) return candidates;
    let working: ToolMeasure[] = [];
    for (const each of candidates) if (await isUnder([...working, each])) working = [...working, each];
    return working;
  } finally {
    await Promise.all([file, secret, cwd].map((each) => rm(each, { recursive: true, force: true })));
  }
}

function hasTaken(measure: ToolMeasure, findings: Findings, owner: RunnerUser | undefined): boolean {
  switch (measure) {
    case "privileges":
      return !findings.canRise;
    case "network":
      return !findings.canConnect;
    case "models":
      return !findings.canChange;
    case "secrets":
      // Who may mount may also take the cover away.
      return !findings.canSeeSecrets && !findings.canRise;
    case "user":
      return findings.uid === owner?.uid;
  }
}

/** @returns what it found, or why it could not look. */
async function trial(
  [command = "", ...rest]: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv,
): Promise<Findings | string> {
  const limits = { env, cwd, timeout: TRIAL_LIMIT_MS, killSignal: "SIGKILL" } as const;
  try {
    const { stdout } = await promisify(execFile)(command, rest, limits);
    return findingsSchema.parse(JSON.parse(stdout));
  } catch (error) {
    // The message begins with the whole command.
    return (error as Error).message.slice(-500);
  }
}

/** Makes the models, and nothing else, readable for that user's group. */
async function prepareUser(user: string, { stateDir, modelsDir }: JailOptions): Promise<RunnerUser> {
  if (process.getuid?.() !== 0)
    throw fail("config_invalid", "Only an agent that runs as root can give its runners to another user.");
  const account = await findAccount(user);
  if (account === undefined) throw fail("config_invalid", `There is no user \`${user}\` on this machine.`);
  const { gid } = account;
  for (const [path, mode] of [
    [stateDir, 0o710],
    [join(modelsDir, ".."), 0o710],
    // New files take the group of this folder.
    [modelsDir, 0o2750],
  ] as const) {
    await chown(path, 0, gid);
    await chmod(path, mode);
  }
  for (const name of await readdir(modelsDir)) {
    await chown(join(modelsDir, name), 0, gid);
    await chmod(join(modelsDir, name), 0o640);
  }
  return account;
}

async function findAccount(user: string): Promise<RunnerUser | undefined> {
  const lines = async (path: string): Promise<string[][]> =>
    (await readFile(path, "utf8").catch(() => "")).split("\n").map((line) => line.split(":"));
  const entry = (await lines("/etc/passwd")).find(([name, , uid]) => name === user || uid === user);
  if (entry === undefined) return undefined;
  const devices = (await lines("/etc/group")).filter(([name = ""]) => DEVICE_GROUPS.includes(name));
  return {
    uid: Number(entry[2]),
    gid: Number(entry[3]),
    groups: devices.map(([, , gid]) => Number(gid)),
  };
}
