/**
 * A key in the memory of the gateway: what is kept of it, and what is made of that for every request.
 *
 * It is in force until it is revoked or until its end, whichever comes first; nothing brings it back. The clock decides about the end, so
 * there is no moment at which anybody would have to do something for it.
 */

import type { KeyJson, Scope } from "@legacygpu/shared/api/keys";
import type { KeyRecord } from "./key-record.ts";
import { Networks } from "./networks.ts";
import type { Principal } from "./principal.ts";

const USE_RESOLUTION_MS = 60_000;

export class HeldKey {
  readonly source: KeyJson["source"];
  readonly hash: Buffer;
  /** The only ones that it may be used from; undefined: from anywhere. */
  readonly networks: Networks | undefined;
  readonly #record: KeyRecord;
  #principal: Principal;

  constructor(record: KeyRecord, source: KeyJson["source"]) {
    this.source = source;
    this.hash = Buffer.from(record.sha256, "hex");
    this.networks = record.networks === null ? undefined : new Networks(record.networks);
    this.#record = record;
    this.#principal = principalOf(record);
  }

  get record(): Readonly<KeyRecord> {
    return this.#record;
  }

  get principal(): Principal {
    return this.#principal;
  }

  isInForce(nowMs: number): boolean {
    const { revokedAtMs, expiresAtMs } = this.#record;
    return revokedAtMs === null && (expiresAtMs === null || nowMs < expiresAtMs);
  }

  revoke(nowMs: number): void {
    this.#record.revokedAtMs ??= nowMs;
  }

  /** @param expiresAtMs null: never */
  setEnd(expiresAtMs: number | null): void {
    this.#record.expiresAtMs = expiresAtMs;
    this.#principal = principalOf(this.#record);
  }

  /** @returns whether that is news: uses are known to the minute. */
  use(nowMs: number): boolean {
    const minuteMs = nowMs - (nowMs % USE_RESOLUTION_MS);
    if (this.#record.lastUsedAtMs === minuteMs) return false;
    this.#record.lastUsedAtMs = minuteMs;
    return true;
  }

  toJson(): KeyJson {
    const record = this.#record;
    return {
      id: record.id,
      kind: record.kind,
      name: record.name,
      scopes: record.scopes,
      tenant: record.tenant,
      created_at: new Date(record.createdAtMs).toISOString(),
      expires_at: timeText(record.expiresAtMs),
      revoked_at: timeText(record.revokedAtMs),
      last_used_at: timeText(record.lastUsedAtMs),
      networks: record.networks,
      models: record.models,
      sites: record.sites,
      replaces: record.replaces,
      source: this.source,
    };
  }
}

function principalOf({ kind, id, tenant, name, scopes, models, sites, expiresAtMs }: KeyRecord): Principal {
  return {
    kind,
    keyId: id,
    tenant,
    name,
    scopes: new Set<Scope>(scopes),
    models: models === null ? undefined : new Set(models),
    sites: sites === null ? undefined : new Set(sites),
    expiresAtMs: expiresAtMs ?? undefined,
  };
}

function timeText(atMs: number | null): string | null {
  return atMs === null ? null : new Date(atMs).toISOString();
}
