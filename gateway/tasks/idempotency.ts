/**
 * `Idempotency-Key`: a repeated request gets the answer of the first one, for a day, also across restarts. The key is stored in the
 * same commit as what it made.
 */

import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { z } from "zod";
import type { Document, DocumentStore } from "../store/task-store.ts";

const COLLECTION = "idempotency";
const KEPT_MS = 24 * 3_600_000;
const storedSchema = z.object({ hash: z.string(), madeId: z.string(), createdAtMs: z.number() });

export type IdempotentRequest =
  | { readonly kind: "replay"; readonly madeId: string }
  | {
      readonly kind: "first";
      /** To be stored with what the request makes. */
      document(madeId: string): Document;
      /** Whether it has succeeded or not. */
      done(): void;
    };

export class Idempotency {
  readonly #documents: DocumentStore;
  readonly #clock: Clock;
  readonly #underWay = new Set<string>();

  constructor(documents: DocumentStore, clock: Clock) {
    this.#documents = documents;
    this.#clock = clock;
  }

  /**
   * @param hash of method, path and body
   * @throws `idempotency_conflict`, `idempotency_in_progress`
   */
  begin(tenant: string, key: string, hash: string): IdempotentRequest {
    const id = `${tenant}/${key}`;
    if (this.#underWay.has(id)) throw fail("idempotency_in_progress", undefined, { idempotencyKey: key });
    const found = this.#documents.get(COLLECTION, id);
    const known = found === undefined ? undefined : storedSchema.parse(found);
    const nowMs = this.#clock.now();
    if (known !== undefined && nowMs - known.createdAtMs < KEPT_MS) {
      if (known.hash !== hash) throw fail("idempotency_conflict", undefined, { idempotencyKey: key });
      return { kind: "replay", madeId: known.madeId };
    }
    this.#underWay.add(id);
    return {
      kind: "first",
      document: (madeId) => ({
        collection: COLLECTION,
        id,
        value: { hash, madeId, createdAtMs: nowMs },
        expiresAtMs: nowMs + KEPT_MS,
      }),
      done: () => this.#underWay.delete(id),
    };
  }
}
