/** Which models' files lie in the cache: a small file that survives restarts. */

import { readFile } from "node:fs/promises";
import { writeFileAtomic } from "@legacygpu/shared/files";
import type { Logger } from "@legacygpu/shared/log";
import type { Digest } from "@legacygpu/shared/manifest";
import { type ModelRef, modelRefSchema } from "@legacygpu/shared/protocol/messages";
import { z } from "zod";

const indexSchema = z.array(modelRefSchema);

export class ModelIndex {
  readonly #path: string;
  readonly #log: Logger;
  #refs: ModelRef[] = [];
  #writing: Promise<void> = Promise.resolve();

  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
  }

  /** @param isThere whether the files of a model lie in the cache. */
  async read(isThere: (ref: ModelRef) => Promise<boolean>): Promise<void> {
    for (const ref of await this.#readFile()) if (await isThere(ref)) this.#refs.push(ref);
  }

  /** The most recently used first. */
  get refs(): readonly ModelRef[] {
    return this.#refs;
  }

  has(ref: ModelRef): boolean {
    return this.#refs.some((known) => isSame(known, ref));
  }

  remember(ref: ModelRef): void {
    this.#refs = [ref, ...this.#refs.filter((known) => !isSame(known, ref))];
    this.#write();
  }

  /** A file of it is gone. */
  forget(digest: Digest): void {
    const left = this.#refs.filter(({ file, manifest }) => file !== digest && manifest !== digest);
    if (left.length === this.#refs.length) return;
    this.#refs = left;
    this.#write();
  }

  close(): Promise<void> {
    return this.#writing;
  }

  #write(): void {
    const contents = JSON.stringify(this.#refs, null, 2);
    this.#writing = this.#writing
      .then(() => writeFileAtomic(this.#path, contents))
      .catch((error) => this.#log.warn({ err: error }, "the model index cannot be written"));
  }

  async #readFile(): Promise<ModelRef[]> {
    try {
      return indexSchema.parse(JSON.parse(await readFile(this.#path, "utf8")));
    } catch (error) {
      // It can be rebuilt; without it the agent fetches what it might have had.
      if ((error as { code?: unknown }).code !== "ENOENT")
        this.#log.warn({ err: error }, "the model index cannot be read and is begun anew");
      return [];
    }
  }
}

function isSame(a: ModelRef, b: ModelRef): boolean {
  return a.name === b.name && a.version === b.version;
}
