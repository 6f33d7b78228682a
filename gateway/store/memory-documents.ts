/** Documents in the gateway's memory, encoded as on disk: what is read is never what somebody else goes on changing. */

import type { Clock } from "@legacygpu/shared/clock";
import { decodeValue, encodeValue } from "@legacygpu/shared/protocol/codec";
import type { Document, DocumentRange, DocumentStore } from "./task-store.ts";

interface Stored {
  readonly bytes: Uint8Array;
  readonly expiresAtMs: number | undefined;
}

export class MemoryDocuments implements DocumentStore {
  readonly #clock: Clock;
  readonly #collections = new Map<string, Map<string, Stored>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async put(documents: readonly Document[]): Promise<void> {
    this.add(documents);
  }

  add(documents: readonly Document[]): void {
    for (const { collection, id, value, expiresAtMs } of documents)
      this.#of(collection).set(id, { bytes: encodeValue(value), expiresAtMs });
  }

  async remove(collection: string, ids: readonly string[]): Promise<void> {
    for (const id of ids) this.#of(collection).delete(id);
  }

  get(collection: string, id: string): unknown {
    const stored = this.#of(collection).get(id);
    return stored === undefined ? undefined : decodeValue(stored.bytes);
  }

  list(collection: string, range: DocumentRange): { id: string; value: unknown }[] {
    const { after, before, order = "rising", limit } = range;
    const ids = [...this.#of(collection).keys()].filter(
      (id) =>
        (after === undefined || compare(id, after) > 0) && (before === undefined || compare(id, before) < 0),
    );
    ids.sort((a, b) => (order === "rising" ? compare(a, b) : compare(b, a)));
    return ids.slice(0, limit).map((id) => ({ id, value: this.get(collection, id) }));
  }

  /** Forgets what has expired. */
  sweep(): void {
    const nowMs = this.#clock.now();
    for (const collection of this.#collections.values())
      for (const [id, { expiresAtMs }] of collection)
        if (expiresAtMs !== undefined && expiresAtMs < nowMs) collection.delete(id);
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

/** By UTF-8 bytes. */
const compare = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
