/** The identities (`lgi_…`) that are good now: from what a worker presents to who it is, in memory. */

import { timingSafeEqual } from "node:crypto";
import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { credentialId, hashCredential } from "../auth/credential.ts";
import type { Principal } from "../auth/principal.ts";
import type { IdentityRecord, WorkerRecord } from "./worker-record.ts";

interface Held {
  readonly hash: Buffer;
  readonly expiresAtMs: number;
  readonly principal: Principal | undefined;
}

/** Stands in for an identity that does not exist, so that it costs the same as one that does. */
const NONE: Held = { hash: Buffer.alloc(32), expiresAtMs: 0, principal: undefined };

export class Identities {
  readonly #clock: Clock;
  readonly #byId = new Map<string, Held>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param before what the worker was; undefined: it is new. */
  replace(before: WorkerRecord | undefined, after: WorkerRecord): void {
    for (const { id } of before?.identities ?? []) this.#byId.delete(id);
    for (const identity of after.identities) this.#byId.set(identity.id, held(after, identity));
  }

  /** @throws `auth_invalid`, the same and in the same time for an unknown, wrong, ended and expired one. */
  authenticate(presented: string): Principal {
    const { hash, expiresAtMs, principal } = this.#byId.get(credentialId(presented) ?? "") ?? NONE;
    const isRight = timingSafeEqual(hashCredential(presented), hash);
    const isAlive = this.#clock.now() < expiresAtMs;
    if (!isRight || !isAlive || principal === undefined) throw fail("auth_invalid");
    return principal;
  }
}

function held({ id, site, host }: WorkerRecord, { sha256, expiresAtMs }: IdentityRecord): Held {
  const principal: Principal = {
    kind: "worker",
    keyId: id,
    // A worker chooses its id: with the colon it cannot choose a tenant, whose names have none.
    tenant: `worker:${id}`,
    name: host,
    scopes: new Set(["worker"]),
    sites: new Set([site]),
    workerId: id,
    expiresAtMs,
  };
  return { hash: Buffer.from(sha256, "hex"), expiresAtMs, principal };
}
