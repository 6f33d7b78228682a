/** The command that puts what follows it into the jail. Each of its tools replaces itself by the next, so that the process stays the one that was started. */

import { existsSync } from "node:fs";
import { join } from "node:path";

/** Of the measures those that a tool of the system must put the process under. */
export type ToolMeasure = "privileges" | "network" | "models" | "secrets" | "user";

export interface RunnerUser {
  readonly uid: number;
  readonly gid: number;
  /** Those that own the devices. */
  readonly groups: readonly number[];
}

export interface JailCommandOptions {
  /** Without symbolic links, as the kernel tells a process where it stands. */
  readonly stateDir: string;
  /** Below `stateDir`, as seen from there. */
  readonly modelsDir: string;
  /** The same; in it each runner has a folder, where its process begins. */
  readonly runnersDir: string;
  readonly owner: RunnerUser | undefined;
  readonly toolFolders: readonly string[];
}

/** Its first arguments are the folder and the command. */
const READ_ONLY_MODELS = `mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"`;
/**
 * Its first arguments are the state folder, the folders of models and of runners as seen from there, and the command. A tree with nothing but
 * the models and the runner's own folder is put together in a corner and moved over the state folder. The last `cd` matters: whoever stays
 * where it stood stands below the cover, and finds everything at `..`.
 */
const COVERED_STATE = `
  state=$0 models=$1 cover=$0/$2/cover
  mkdir -p "$cover" && mount -t tmpfs -o mode=755,size=64k tmpfs "$cover" &&
  (umask 022 && mkdir -p "$cover/$models") && mount --bind "$state/$models" "$cover/$models" &&
  mount -o remount,ro,bind "$cover/$models" &&
  case $PWD in "$state/$2"/*)
    own=$cover/\${PWD#"$state"/} && mkdir -p "$own" && mount --bind "$PWD" "$own" ;;
  esac &&
  mount -o remount,ro,bind "$cover" && mount -n --move "$cover" "$state" &&
  { cd "$PWD" 2>/dev/null || cd /; } && shift 2 && exec "$@"`;

export class JailCommand {
  readonly #options: JailCommandOptions;
  readonly #isRoot = process.getuid?.() === 0;
  readonly #unshare: string | undefined;
  readonly #setpriv: string | undefined;
  readonly #sh: string | undefined;

  constructor(options: JailCommandOptions) {
    const { toolFolders } = options;
    this.#options = options;
    this.#unshare = findTool("unshare", toolFolders);
    this.#setpriv = findTool("setpriv", toolFolders);
    this.#sh = findTool("sh", toolFolders);
  }

  /** What the tools that are here are made for; whether the system lets them is another question. */
  candidates(): ToolMeasure[] {
    if (process.platform !== "linux") return [];
    // Who keeps the right to mount can take a mount away.
    const canMount = this.#unshare !== undefined && this.#sh !== undefined && this.#setpriv !== undefined;
    return [
      ...(this.#options.owner !== undefined && this.#setpriv !== undefined ? ["user" as const] : []),
      ...(this.#setpriv !== undefined ? ["privileges" as const] : []),
      ...(this.#unshare !== undefined ? ["network" as const] : []),
      ...(canMount ? ["models" as const, "secrets" as const] : []),
    ];
  }

  prefix(measures: readonly ToolMeasure[]): string[] {
    const has = (measure: ToolMeasure): boolean => measures.includes(measure);
    const mounts = has("models") || has("secrets");
    return [
      ...(mounts || has("network") ? this.#namespaces(has("network"), mounts) : []),
      ...(mounts ? this.#mounts(has("secrets")) : []),
      ...(has("privileges") || has("user") ? this.#identity(has, mounts) : []),
    ];
  }

  #namespaces(network: boolean, mounts: boolean): string[] {
    const command = [this.#unshare ?? ""];
    // Only root may mount, if only the root of a namespace that maps it to us.
    if (!this.#isRoot) command.push("--user", mounts ? "--map-root-user" : "--map-current-user");
    if (network) command.push("--net");
    if (mounts) command.push("--mount");
    return [...command, "--"];
  }

  #mounts(hidesSecrets: boolean): string[] {
    const { stateDir, modelsDir, runnersDir } = this.#options;
    const sh = [this.#sh ?? "", "-c"];
    if (hidesSecrets) return [...sh, COVERED_STATE, stateDir, modelsDir, runnersDir];
    return [...sh, READ_ONLY_MODELS, join(stateDir, modelsDir)];
  }

  #identity(has: (measure: ToolMeasure) => boolean, mounts: boolean): string[] {
    const { owner } = this.#options;
    const command = [this.#setpriv ?? ""];
    if (has("user") && owner !== undefined) {
      const { uid, gid, groups } = owner;
      command.push(`--reuid=${uid}`, `--regid=${gid}`, `--groups=${[gid, ...groups].join(",")}`);
    }
    if (has("privileges")) command.push("--no-new-privs");
    if (has("privileges") && (this.#isRoot || mounts)) command.push("--bounding-set=-all", "--inh-caps=-all");
    return [...command, "--"];
  }
}

function findTool(name: string, folders: readonly string[]): string | undefined {
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}
