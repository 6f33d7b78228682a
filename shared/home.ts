/** `LEGACYGPU_HOME` and what lies in it: the one place that knows the names of files. */

import { mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export interface Home {
  readonly root: string;
  /** Development CA and server certificate. */
  readonly certs: string;
  /** Gateway: hashes of all keys. */
  readonly keysFile: string;
  /** Gateway: private keys that sign access tokens. */
  readonly signingKeysFile: string;
  /** Gateway: who did what. */
  readonly audit: string;
  /** Gateway: catalogue and blobs. */
  readonly models: string;
  /** Gateway: tasks. */
  readonly tasksFile: string;
  /** Gateway: large inputs that arrive in parts. */
  readonly uploads: string;
  /** Gateway: agent builds that it hands out. */
  readonly releases: string;
  /** Log files. */
  readonly logs: string;
  /** Agent: identity, credential and model cache. */
  readonly worker: string;
  /** Command line: address, CA and key used when none is given. */
  readonly profileFile: string;
  readonly configFile: string;
}

/** @param env `LEGACYGPU_HOME` overrides `~/.legacygpu`. Creates the folder, readable by its owner only. */
export function openHome(env: Readonly<Record<string, string | undefined>>): Home {
  const root = env.LEGACYGPU_HOME || join(homedir(), ".legacygpu");
  mkdirSync(root, { recursive: true, mode: 0o700 });
  return {
    root,
    certs: join(root, "certs"),
    keysFile: join(root, "keys.json"),
    signingKeysFile: join(root, "signing-keys.json"),
    audit: join(root, "audit"),
    models: join(root, "models"),
    tasksFile: join(root, "tasks.mdb"),
    uploads: join(root, "uploads"),
    releases: join(root, "releases"),
    logs: join(root, "logs"),
    worker: join(root, "worker"),
    profileFile: join(root, "profile.json"),
    configFile: join(root, "config.yaml"),
  };
}
