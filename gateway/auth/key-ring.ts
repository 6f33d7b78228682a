/**
 * All keys of a gateway: issued, checked, revoked.
 *
 * Only hashes are kept, in one file that is replaced whole at every change.
 */

import { timingSafeEqual } from "node:crypto";
import { type CreateKey, type KeyJson, SCOPES, type Scope } from "@legacygpu/shared/api/keys";
import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { readJsonFile, writeFileAtomic } from "@legacygpu/shared/files";
import { z } from "zod";
import { type CredentialKind, credentialId, hashCredential, newCredential } from "./credential.ts";
import type { Principal } from "./principal.ts";

const recordSchema = z.strictObject({
  id: z.string(),
  kind: z.enum(["client", "worker"]),
  name: z.string(),
  scopes: z.array(z.enum(SCOPES)),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  createdAtMs: z.number(),
  revokedAtMs: z.number().nullable(),
});
const fileSchema = z.strictObject({ version: z.literal(1), keys: z.array(recordSchema) });
type KeyRecord = z.infer<typeof recordSchema>;

/** The credentials that are kept here. */
export type KeyKind = Extract<CredentialKind, "client" | "worker">;

interface LiveKey {
  readonly record: KeyRecord;
  readonly hash: Buffer;
  readonly principal: Principal;
}

export interface IssuedKey {
  readonly id: string;
  readonly key: string;
  readonly json: KeyJson;
}

/** What an unknown id is compared with, so that it costs the same as a known one. */
const NO_KEY = Buffer.alloc(32);

export class KeyRing {
  readonly #file: string;
  readonly #clock: Clock;
  readonly #keys = new Map<string, LiveKey>();
  readonly #revocationListeners = new Set<(keyId: string) => void>();
  #writing: Promise<void> = Promise.resolve();

  private constructor(file: string, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
  }

  /** @throws `config_invalid` when the file exists and cannot be understood: starting without keys would lock everyone out. */
  static async open(file: string, clock: Clock): Promise<KeyRing> {
    const ring = new KeyRing(file, clock);
    const stored = await readJsonFile(file, "key file", fileSchema);
    for (const record of stored?.keys ?? []) ring.#remember(record);
    return ring;
  }

  get isEmpty(): boolean {
    return this.#keys.size === 0;
  }

  async issue(kind: KeyKind, { name, scopes }: CreateKey): Promise<IssuedKey> {
    const credential = newCredential(kind);
    const record: KeyRecord = {
      id: credential.id,
      kind,
      name,
      scopes,
      sha256: credential.hash.toString("hex"),
      createdAtMs: this.#clock.now(),
      revokedAtMs: null,
    };
    this.#remember(record);
    await this.#save();
    return { id: record.id, key: credential.text, json: toJson(record) };
  }

  /** @throws `auth_invalid`, with nothing in it that tells an unknown, a wrong and a revoked key apart. */
  authenticate(presented: string): Principal {
    const id = credentialId(presented);
    const live = id === undefined ? undefined : this.#keys.get(id);
    const isEqual = timingSafeEqual(hashCredential(presented), live?.hash ?? NO_KEY);
    if (live === undefined || !isEqual || live.record.revokedAtMs !== null) throw fail("auth_invalid");
    return live.principal;
  }

  isValid(presented: string): boolean {
    try {
      this.authenticate(presented);
      return true;
    } catch {
      return false;
    }
  }

  list(): KeyJson[] {
    return [...this.#keys.values()].map(({ record }) => toJson(record));
  }

  /** Idempotent. @throws `key_not_found` */
  async revoke(id: string): Promise<KeyJson> {
    const live = this.#keys.get(id);
    if (live === undefined) throw fail("key_not_found", `There is no key ${id}.`);
    if (live.record.revokedAtMs === null) {
      live.record.revokedAtMs = this.#clock.now();
      for (const listener of this.#revocationListeners) listener(id);
      await this.#save();
    }
    return toJson(live.record);
  }

  onRevoked(listener: (keyId: string) => void): void {
    this.#revocationListeners.add(listener);
  }

  #remember(record: KeyRecord): void {
    const { id, kind, name, scopes } = record;
    const principal: Principal = { kind, keyId: id, tenant: id, name, scopes: new Set<Scope>(scopes) };
    this.#keys.set(record.id, { record, hash: Buffer.from(record.sha256, "hex"), principal });
  }

  /** Writes one after the other, so that the newest state is the one that stays. */
  #save(): Promise<void> {
    const write = (): Promise<void> => {
      const keys = [...this.#keys.values()].map(({ record }) => record);
      return writeFileAtomic(this.#file, `${JSON.stringify({ version: 1, keys }, null, 2)}\n`, {
        mode: 0o600,
      });
    };
    this.#writing = this.#writing.then(write, write);
    return this.#writing;
  }
}

function toJson({ id, kind, name, scopes, createdAtMs, revokedAtMs }: KeyRecord): KeyJson {
  return {
    id,
    kind,
    name,
    scopes,
    created_at: new Date(createdAtMs).toISOString(),
    revoked_at: revokedAtMs === null ? null : new Date(revokedAtMs).toISOString(),
    tenant: id,
    expires_at: null,
    last_used_at: null,
    networks: null,
    models: null,
    sites: null,
    replaces: null,
    source: "issued",
  };
}
