/** The documents of a store on disk, for others. */

import type { DocumentTables } from "./document-tables.ts";
import type { GroupCommit } from "./group-commit.ts";
import type { Write } from "./table.ts";
import type { Document, DocumentRange, DocumentStore } from "./task-store.ts";

export class LmdbDocuments implements DocumentStore {
  readonly #tables: DocumentTables;
  readonly #commits: GroupCommit;
  readonly #assertOpen: () => void;

  constructor(tables: DocumentTables, commits: GroupCommit, assertOpen: () => void) {
    this.#tables = tables;
    this.#commits = commits;
    this.#assertOpen = assertOpen;
  }

  async put(documents: readonly Document[]): Promise<void> {
    this.#assertOpen();
    const writes: Write[] = [];
    for (const document of documents) this.#tables.insertion(writes, document);
    await this.#commits.add("insert", writes);
    this.#letGo(writes);
  }

  async remove(collection: string, ids: readonly string[]): Promise<void> {
    this.#assertOpen();
    const writes: Write[] = [];
    for (const id of ids) this.#tables.removal(writes, collection, id);
    await this.#commits.add("other", writes);
    this.#letGo(writes);
  }

  get(collection: string, id: string): unknown {
    this.#assertOpen();
    return this.#tables.get(collection, id);
  }

  list(collection: string, range: DocumentRange): { id: string; value: unknown }[] {
    this.#assertOpen();
    return this.#tables.list(collection, range);
  }

  /** What a relaxed insert could not write would hide what is stored since. */
  #letGo(writes: readonly Write[]): void {
    for (const { table, key } of writes) table.letGo(key);
  }
}
