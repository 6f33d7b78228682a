/** What a repair takes out of a store: one JSON object a line, with the table, the key, what is wrong, and the bytes as base64. */

import { closeSync, fsyncSync, openSync, rmSync, writeSync } from "node:fs";
import type { Damage } from "./audit.ts";
import { printable } from "./sealed.ts";

/** Of what is also told at once. */
const MAX_LISTED = 1000;

export class AsideFile {
  readonly path: string;
  readonly listed: Damage[] = [];
  #count = 0;
  #file: number | undefined;

  constructor(path: string) {
    this.path = path;
  }

  get count(): number {
    return this.#count;
  }

  add({ table, key, what }: Damage, value?: Uint8Array): void {
    const bytes = value === undefined ? undefined : Buffer.from(value).toString("base64");
    this.#file ??= openSync(this.path, "wx", 0o600);
    writeSync(this.#file, `${JSON.stringify({ table, key: printable(key), what, value: bytes })}\n`);
    this.#count += 1;
    if (this.listed.length < MAX_LISTED) this.listed.push({ table, key, what });
  }

  /** The repair has failed: nothing was taken out. */
  discard(): void {
    this.close();
    rmSync(this.path, { force: true });
  }

  close(): void {
    if (this.#file === undefined) return;
    fsyncSync(this.#file);
    closeSync(this.#file);
    this.#file = undefined;
  }
}
