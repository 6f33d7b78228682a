/** Reads all documents of a collection, each through the schema of its form. */

import { fail } from "@legacygpu/shared/errors";
import type { z } from "zod";
import type { DocumentStore } from "../store/task-store.ts";

const CHUNK = 256;

/** @throws `store_corrupt`, naming the first document that has another form. */
export function* storedRecords<Schema extends z.ZodType>(
  documents: DocumentStore,
  collection: string,
  schema: Schema,
): Generator<z.output<Schema>> {
  for (let after: string | undefined; ; ) {
    const page = documents.list(collection, { after, limit: CHUNK });
    for (const { id, value } of page) {
      const parsed = schema.safeParse(value);
      if (!parsed.success) throw damaged(`${collection}/${id}`, parsed.error);
      yield parsed.data;
    }
    if (page.length < CHUNK) return;
    after = page.at(-1)?.id;
  }
}

function damaged(key: string, cause: Error): Error {
  return fail("store_corrupt", `The stored document ${key} is damaged.`, { key }, cause);
}
