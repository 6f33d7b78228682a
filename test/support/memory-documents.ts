/** Documents in memory, encoded as on disk: what a store would lose is lost here too. */

import { fail } from "@legacygpu/shared/errors";
import { decodeValue, encodeValue } from "@legacygpu/shared/protocol/codec";
import type { Document, DocumentRange, DocumentStore } from "../../gateway/store/task-store.ts";

interface Stored {
  readonly bytes: Uint8Array;
  readonly expiresAtMs: number | undefined;
}

export class MemoryDocuments implements DocumentStore {
  readonly #collections = new Map<string, Map<string, Stored>>();
  /** While true, nothing is taken: as a full disk. */
  isFull = false;

  async put(documents: readonly Document[]): Promise<void> {
    await new Promise(setImmediate);
    if (this.isFull) throw fail("store_full");
    for (const { collection, id, value, expiresAtMs } of documents)
      this.#of(collection).set(id, { bytes: encodeValue(value), expiresAtMs });
  }

  async remove(collection: string, ids: readonly string[]): Promise<void> {
    await new Promise(setImmediate);
    for (const id of ids) this.#of(collection).delete(id);
  }

  get(collection: string, id: string): unknown {
    const stored = this.#of(collection).get(id);
    return stored === undefined ? undefined : decodeValue(stored.bytes);
  }

  list(collection: string, { after, before, order = "rising", limit }: DocumentRange) {
    const isWithin = (id: string): boolean =>
      (after === undefined || id > after) && (before === undefined || id < before);
    const ids = [...this.#of(collection).keys()].filter(isWithin).sort();
    if (order === "falling") ids.reverse();
    return ids.slice(0, limit).map((id) => ({ id, value: this.get(collection, id) }));
  }

  ids(collection: string): string[] {
    return [...this.#of(collection).keys()].sort();
  }

  expiryOf(collection: string, id: string): number | undefined {
    return this.#of(collection).get(id)?.expiresAtMs;
  }

  /** The disk as it is at this moment, for a process that starts after a crash. */
  copy(): MemoryDocuments {
    const copy = new MemoryDocuments();
    for (const [name, collection] of this.#collections) copy.#collections.set(name, new Map(collection));
    return copy;
  }

  #of(collection: string): Map<string, Stored> {
    let found = this.#collections.get(collection);
    if (found === undefined) {
      found = new Map();
      this.#collections.set(collection, found);
    }
    return found;
  }
}
