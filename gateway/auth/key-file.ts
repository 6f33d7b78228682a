/** The file of keys: only hashes, readable by its owner only, replaced whole. */

import { setImmediate as nextTurn } from "node:timers/promises";
import { readJsonFile, writeFileAtomic } from "@legacygpu/shared/files";
import { type KeyRecord, keyFileSchema, keyFileText } from "./key-record.ts";

export class KeyFile {
  readonly #path: string;
  readonly #newest: () => readonly KeyRecord[];
  /** The write that has not begun yet. */
  #next: Promise<void> | undefined;
  /** Resolves when the last write that has begun is over, well or not. */
  #last: Promise<void> = Promise.resolve();

  /** @param newest what is to be written, asked when a write begins. */
  constructor(path: string, newest: () => readonly KeyRecord[]) {
    this.#path = path;
    this.#newest = newest;
  }

  /** @throws `config_invalid` when the file exists and cannot be understood. */
  static async read(path: string): Promise<KeyRecord[]> {
    return (await readJsonFile(path, "key file", keyFileSchema)) ?? [];
  }

  /** Resolves when everything as it is now is on disk. What changes while a write is under way shares the next one. */
  save(): Promise<void> {
    this.#next ??= this.#writeAfter(this.#last);
    return this.#next;
  }

  /** Resolves when nothing is being written any more, well or not. */
  async settled(): Promise<void> {
    await this.#next?.catch(() => {});
    await this.#last;
  }

  async #writeAfter(previous: Promise<void>): Promise<void> {
    await previous;
    // Whoever's change could not be written just now takes it back before the next copy is made.
    await nextTurn();
    this.#next = undefined;
    const writing = writeFileAtomic(this.#path, keyFileText(this.#newest()), { mode: 0o600 });
    this.#last = writing.catch(() => {});
    await writing;
  }
}
