/**
 * Join tokens: in memory, and as documents in the store. Of the secret only the hash is kept.
 *
 * A token is live until its end, until it is revoked, and as long as it has uses left. A use is taken in memory at once, so that nobody else
 * can have it, and is stored together with the worker that it lets in; what could not be stored is given back.
 */

import { timingSafeEqual } from "node:crypto";
import type { JoinTokenJson } from "@legacygpu/shared/api/enrolment";
import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { z } from "zod";
import { credentialId, hashCredential, newCredential } from "../auth/credential.ts";
import type { Document, DocumentStore } from "../store/task-store.ts";
import { storedRecords } from "./stored-records.ts";

const COLLECTION = "join-tokens";
/** How long a token that has ended is shown. */
const REMEMBERED_MS = 7 * 86_400_000;

const recordSchema = z.object({
  id: z.string(),
  site: z.string(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  createdAtMs: z.number(),
  expiresAtMs: z.number(),
  uses: z.int(),
  usesLeft: z.int(),
  revokedAtMs: z.number().nullable(),
});
type Stored = z.infer<typeof recordSchema>;
export type JoinTokenRecord = Readonly<Stored>;

export interface NewJoinToken {
  readonly site: string;
  readonly ttlMs: number;
  readonly uses: number;
}

const NO_HASH = "0".repeat(64);

export class JoinTokens {
  readonly #documents: DocumentStore;
  readonly #clock: Clock;
  readonly #records = new Map<string, Stored>();

  /** @throws `store_corrupt` */
  constructor(documents: DocumentStore, clock: Clock) {
    this.#documents = documents;
    this.#clock = clock;
    for (const record of storedRecords(documents, COLLECTION, recordSchema))
      this.#records.set(record.id, record);
  }

  /** @returns also the secret, this once. @throws `store_full`, `store_failed` */
  async create({ site, ttlMs, uses }: NewJoinToken): Promise<{ record: JoinTokenRecord; secret: string }> {
    this.#forgetOld();
    const { id, text: secret, hash } = newCredential("join");
    const createdAtMs = this.#clock.now();
    const record: Stored = {
      id,
      site,
      sha256: hash.toString("hex"),
      createdAtMs,
      expiresAtMs: createdAtMs + ttlMs,
      uses,
      usesLeft: uses,
      revokedAtMs: null,
    };
    await this.#documents.put([toDocument(record)]);
    this.#records.set(id, record);
    return { record, secret };
  }

  /** Oldest first. */
  list(): JoinTokenRecord[] {
    this.#forgetOld();
    return [...this.#records.values()].sort((a, b) => a.createdAtMs - b.createdAtMs);
  }

  /** At once, and stored after that. Idempotent. @throws `join_token_not_found`, `store_full`, `store_failed` */
  async revoke(id: string): Promise<JoinTokenRecord> {
    const record = this.#records.get(id);
    if (record === undefined) throw fail("join_token_not_found", `There is no join token ${id}.`, { id });
    record.revokedAtMs ??= this.#clock.now();
    // Also when it was revoked before: that may be why it is done again.
    await this.#documents.put([toDocument(record)]);
    return record;
  }

  /**
   * The token with this secret, in force but perhaps used up. Takes the same time whatever is wrong.
   *
   * @throws `auth_invalid`, the same for an unknown, wrong, revoked and expired one.
   */
  recognise(secret: string): JoinTokenRecord {
    const record = this.#records.get(credentialId(secret) ?? "");
    const isRight = timingSafeEqual(hashCredential(secret), Buffer.from(record?.sha256 ?? NO_HASH, "hex"));
    if (!isRight || record === undefined || !this.#isInForce(record)) throw fail("auth_invalid");
    return record;
  }

  /** Takes one use. @returns what is to be stored with the worker that it lets in. @throws `auth_invalid` when none is left. */
  spend(id: string): Document {
    const record = this.#records.get(id);
    if (record === undefined || !this.#isInForce(record) || record.usesLeft === 0) throw fail("auth_invalid");
    record.usesLeft -= 1;
    return toDocument(record);
  }

  /** A use that was spent for nothing. */
  giveBack(id: string): void {
    const record = this.#records.get(id);
    if (record !== undefined) record.usesLeft += 1;
  }

  #isInForce({ revokedAtMs, expiresAtMs }: Stored): boolean {
    return revokedAtMs === null && this.#clock.now() < expiresAtMs;
  }

  #forgetOld(): void {
    const nowMs = this.#clock.now();
    for (const [id, record] of this.#records) if (forgottenAtMs(record) <= nowMs) this.#records.delete(id);
  }
}

export function joinTokenJson(record: JoinTokenRecord): JoinTokenJson {
  return {
    id: record.id,
    site: record.site,
    created_at: new Date(record.createdAtMs).toISOString(),
    expires_at: new Date(record.expiresAtMs).toISOString(),
    uses: record.uses,
    uses_left: record.usesLeft,
    revoked_at: record.revokedAtMs === null ? null : new Date(record.revokedAtMs).toISOString(),
  };
}

function forgottenAtMs({ expiresAtMs }: Stored): number {
  return expiresAtMs + REMEMBERED_MS;
}

/** A copy: the record goes on changing. */
function toDocument(record: Stored): Document {
  return {
    collection: COLLECTION,
    id: record.id,
    value: { ...record },
    expiresAtMs: forgottenAtMs(record),
  };
}
