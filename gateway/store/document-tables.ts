/**
 * What others keep beside the tasks.
 *
 * documents        collection, id → sealed: expiry f64 (NaN: never), then the value as msgpack
 * document-expiry  expiry, collection, id → nothing. A document that was replaced may leave its entry behind; it is dropped when it is due.
 */

import { fail } from "@legacygpu/shared/errors";
import { encodeValue } from "@legacygpu/shared/protocol/codec";
import type { Environment } from "./environment.ts";
import { AFTER_SEPARATOR, NOTHING, SEPARATOR, splitTimeKey, timeKey } from "./index-keys.ts";
import { decodeContents, type Place, SEAL_BYTES, seal, unseal } from "./sealed.ts";
import type { Table, Write } from "./table.ts";
import type { Document, DocumentRange } from "./task-store.ts";

export const DOCUMENT_VERSION = 1;
const EXPIRY_BYTES = 8;
/** LMDB takes keys of up to 1978 bytes. */
const MAX_KEY_BYTES = 1024;

export class DocumentTables {
  readonly documents: Table;
  readonly expiry: Table;

  constructor(environment: Environment) {
    this.documents = environment.table("documents");
    this.expiry = environment.table("document-expiry");
  }

  insertion(writes: Write[], { collection, id, value, expiresAtMs }: Document): void {
    const key = documentKey(collection, id);
    const contents = encodeValue(value);
    const bytes = Buffer.allocUnsafe(SEAL_BYTES + EXPIRY_BYTES + contents.length);
    bytes.writeDoubleLE(expiresAtMs ?? Number.NaN, SEAL_BYTES);
    bytes.set(contents, SEAL_BYTES + EXPIRY_BYTES);
    this.#dropExpiry(writes, key);
    writes.push({ table: this.documents, key, value: seal(this.#place(key), bytes, DOCUMENT_VERSION) });
    if (expiresAtMs !== undefined)
      writes.push({ table: this.expiry, key: timeKey(expiresAtMs, key), value: NOTHING });
  }

  removal(writes: Write[], collection: string, id: string): void {
    const key = documentKey(collection, id);
    this.#dropExpiry(writes, key);
    writes.push({ table: this.documents, key });
  }

  /** @param expiryKey one of `document-expiry` that is due. */
  expiration(writes: Write[], expiryKey: string): void {
    const { rest } = splitTimeKey(expiryKey);
    writes.push({ table: this.expiry, key: expiryKey });
    const expiresAtMs = this.#expiresAtMs(rest);
    if (expiresAtMs !== undefined && timeKey(expiresAtMs, rest) === expiryKey)
      writes.push({ table: this.documents, key: rest });
  }

  /** The entry in `document-expiry` of a stored document, where it should have one. */
  expiryOf(writes: Write[], key: string, value: Uint8Array): void {
    const expiresAtMs = this.#expiryIn(key, value);
    if (expiresAtMs !== undefined)
      writes.push({ table: this.expiry, key: timeKey(expiresAtMs, key), value: NOTHING });
  }

  /** @throws `store_corrupt` */
  get(collection: string, id: string): unknown {
    const key = documentKey(collection, id);
    const value = this.documents.get(key);
    return value === undefined ? undefined : this.#decode(key, value);
  }

  /** @throws `store_corrupt` */
  list(collection: string, range: DocumentRange): { id: string; value: unknown }[] {
    const { after = "", before, order = "rising", limit } = range;
    const prefix = documentKey(collection, "");
    const last = before === undefined ? collection + AFTER_SEPARATOR : prefix + before;
    const found = this.documents.entries({ after: prefix + after, before: last, order, limit });
    return found.map(({ key, value }) => ({ id: key.slice(prefix.length), value: this.#decode(key, value) }));
  }

  #decode(key: string, value: Uint8Array): unknown {
    const contents = unseal(this.#place(key), value, DOCUMENT_VERSION);
    return decodeContents(this.#place(key), contents.subarray(EXPIRY_BYTES));
  }

  #dropExpiry(writes: Write[], key: string): void {
    const expiresAtMs = this.#expiresAtMs(key);
    if (expiresAtMs !== undefined) writes.push({ table: this.expiry, key: timeKey(expiresAtMs, key) });
  }

  #expiresAtMs(key: string): number | undefined {
    const value = this.documents.get(key);
    return value === undefined ? undefined : this.#expiryIn(key, value);
  }

  #expiryIn(key: string, value: Uint8Array): number | undefined {
    const timeMs = unseal(this.#place(key), value, DOCUMENT_VERSION).readDoubleLE(0);
    return Number.isNaN(timeMs) ? undefined : timeMs;
  }

  #place(key: string): Place {
    return { table: this.documents.name, key };
  }
}

function documentKey(collection: string, id: string): string {
  const key = collection + SEPARATOR + id;
  if (Buffer.byteLength(key) <= MAX_KEY_BYTES) return key;
  throw fail("internal", `The key of a document in ${collection} has more than ${MAX_KEY_BYTES} bytes.`);
}
