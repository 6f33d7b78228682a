/** A store's file as a whole: where copies of it lie, and how one takes the place of another. */

import {
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  rmSync,
} from "node:fs";
import { dirname } from "node:path";
import { fail } from "@legacygpu/shared/errors";
import { syncFolder } from "./environment.ts";

/** @throws `store_failed` */
export function assertExists(path: string): void {
  if (!existsSync(path)) throw fail("store_failed", `There is no store at ${path}.`, { path });
}

/** @throws `store_failed` */
export function assertAbsent(path: string): void {
  if (existsSync(path))
    throw fail("store_failed", `${path} exists already. Name a file that does not exist.`, { path });
}

/** A name for what is kept of a store, which tells when that was. */
export function besideName(path: string, what: string, nowMs: number): string {
  const when = new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, "");
  return `${path}.${what}-${when}`;
}

/** Gives the file a second name, or copies it where there is no such thing. */
export function keepAs(path: string, copyPath: string): void {
  try {
    linkSync(path, copyPath);
  } catch {
    copyFileSync(path, copyPath);
    sync(copyPath);
  }
}

/** In one step: at every moment there is one of the two under the name. Both are on disk. */
export function replace(path: string, byPath: string): void {
  sync(byPath);
  renameSync(byPath, path);
  syncFolder(dirname(path));
}

/** With the lock file that LMDB puts beside it. */
export function removeStore(path: string): void {
  rmSync(path, { force: true });
  rmSync(`${path}-lock`, { force: true });
}

function sync(path: string): void {
  const file = openSync(path, "r+");
  fsyncSync(file);
  closeSync(file);
}
