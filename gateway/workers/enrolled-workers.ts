/**
 * All enrolled workers: in memory, and as documents in the store.
 *
 * Changes of one worker are made one after another, and each is stored before it shows. Only a revocation shows at once and is stored after:
 * a change that was being stored meanwhile finds another record than it began with, and is not made.
 */

import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { CredentialSource } from "../auth/authenticator.ts";
import { newCredential } from "../auth/credential.ts";
import type { Principal } from "../auth/principal.ts";
import type { Document, DocumentStore } from "../store/task-store.ts";
import { Identities } from "./identities.ts";
import type { JoinTokenRecord, JoinTokens } from "./join-tokens.ts";
import { storedRecords } from "./stored-records.ts";
import { Turns } from "./turns.ts";
import {
  approved,
  registered,
  renewed,
  revoked,
  type WorkerRecord,
  workerRecordSchema,
} from "./worker-record.ts";

const COLLECTION = "workers";

export interface EnrolledWorkersOptions {
  readonly documents: DocumentStore;
  readonly clock: Clock;
  readonly joinTokens: JoinTokens;
  readonly approval: "automatic" | "manual";
  /** Whether an agent with this worker id has a live link. */
  readonly isConnected: (workerId: string) => boolean;
  /** Whether a key has this id: what is permitted to the one must not be permitted to the other. */
  readonly isKeyId: (id: string) => boolean;
  readonly identityLifeMs: number;
}

export interface WantedWorker {
  readonly id: string;
  /** 32 bytes, base64url. */
  readonly publicKey: string;
  readonly host: string;
}

export interface EnrolmentOutcome {
  /** again: it was registered with this key already, and no use was spent. replaced: another registration of this id has ended. */
  readonly kind: "new" | "again" | "replaced";
  readonly worker: WorkerRecord;
}

export interface IssuedIdentity {
  readonly text: string;
  readonly lifeMs: number;
  readonly worker: WorkerRecord;
}

export class EnrolledWorkers implements CredentialSource {
  readonly #options: EnrolledWorkersOptions;
  readonly #workers = new Map<string, WorkerRecord>();
  readonly #identities: Identities;
  readonly #turns = new Turns();
  readonly #endListeners = new Set<(keyId: string) => void>();

  /** @throws `store_corrupt` */
  constructor(options: EnrolledWorkersOptions) {
    this.#options = options;
    this.#identities = new Identities(options.clock);
    for (const worker of storedRecords(options.documents, COLLECTION, workerRecordSchema))
      this.#show(undefined, worker);
  }

  /** @throws `auth_invalid` */
  authenticate(presented: string): Principal {
    return this.#identities.authenticate(presented);
  }

  get(id: string): WorkerRecord | undefined {
    return this.#workers.get(id);
  }

  isConnected(id: string): boolean {
    return this.#options.isConnected(id);
  }

  /** In the order of their ids. */
  list(): WorkerRecord[] {
    return [...this.#workers.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Told of every worker whose registration ends, at once. */
  onRevoked(listener: (keyId: string) => void): void {
    this.#endListeners.add(listener);
  }

  /**
   * @param secret of a join token
   * @throws `auth_invalid` for every secret that lets nobody in; `worker_id_in_use`, `worker_revoked`, `store_full`, `store_failed`
   */
  enrol(secret: string, wanted: WantedWorker): Promise<EnrolmentOutcome> {
    return this.#turns.take(wanted.id, () => this.#enrol(secret, wanted));
  }

  /**
   * A new identity for a worker that has proved its key.
   *
   * @param proved what was known of the worker then
   * @throws `worker_not_approved`, `worker_revoked`, `auth_invalid` when its key is another one by now, `store_full`, `store_failed`
   */
  renew(proved: WorkerRecord): Promise<IssuedIdentity> {
    return this.#turns.take(proved.id, async () => {
      const before = this.#workers.get(proved.id);
      if (before?.publicKey !== proved.publicKey) throw fail("auth_invalid");
      const { clock, identityLifeMs: lifeMs } = this.#options;
      const identity = newCredential("identity");
      const worker = renewed(before, identity, { nowMs: clock.now(), lifeMs });
      await this.#change(before, worker);
      return { text: identity.text, lifeMs, worker };
    });
  }

  /** Idempotent. @throws `worker_not_found`, `worker_revoked`, `store_full`, `store_failed` */
  approve(id: string): Promise<WorkerRecord> {
    return this.#turns.take(id, async () => {
      const before = this.#find(id);
      const worker = approved(before, this.#options.clock.now());
      if (worker !== before) await this.#change(before, worker);
      return worker;
    });
  }

  /** Idempotent. @throws `worker_not_found`, `store_full`, `store_failed`: then it is revoked until the gateway starts again. */
  async revoke(id: string): Promise<WorkerRecord> {
    const before = this.#find(id);
    const worker = revoked(before, this.#options.clock.now());
    this.#show(before, worker);
    this.#tellEnd(id);
    // Also when it was revoked before: that may be why it is done again.
    await this.#turns.take(id, () => this.#options.documents.put([toDocument(worker)]));
    return worker;
  }

  async #enrol(secret: string, { id, publicKey, host }: WantedWorker): Promise<EnrolmentOutcome> {
    const { joinTokens, approval, clock, documents } = this.#options;
    const token = joinTokens.recognise(secret);
    const before = this.#workers.get(id);
    const isSame =
      before?.publicKey === publicKey && before.site === token.site && before.status !== "revoked";
    if (isSame && (token.usesLeft > 0 || before.joinToken === token.id))
      return { kind: "again", worker: before };
    if (token.usesLeft === 0) throw fail("auth_invalid");
    this.#requireFree(id, before, token, publicKey);
    const registration = { id, site: token.site, host, publicKey, joinToken: token.id };
    const worker = registered(registration, approval, clock.now());
    const use = joinTokens.spend(token.id);
    try {
      await documents.put([use, toDocument(worker)]);
    } catch (error) {
      joinTokens.giveBack(token.id);
      throw error;
    }
    this.#requireUnchanged(id, before);
    this.#show(before, worker);
    if (before === undefined || before.status === "revoked") return { kind: "new", worker };
    // Whoever has proved the old key may be dialling.
    this.#tellEnd(id);
    return { kind: "replaced", worker };
  }

  /** @throws `worker_id_in_use`, `worker_revoked` */
  #requireFree(
    id: string,
    before: WorkerRecord | undefined,
    token: JoinTokenRecord,
    publicKey: string,
  ): void {
    const { isConnected, isKeyId } = this.#options;
    if (before === undefined) {
      if (isKeyId(id)) throw inUse(id, "is the id of a key");
      return;
    }
    if (before.status === "revoked") {
      requireFresh(before, token, publicKey);
      return;
    }
    if (before.site !== token.site) throw inUse(id, "is enrolled at another site: revoke it there first");
    if (isConnected(id)) throw inUse(id, "is connected, with another key than the one that is to join");
  }

  async #change(before: WorkerRecord, after: WorkerRecord): Promise<void> {
    await this.#options.documents.put([toDocument(after)]);
    this.#requireUnchanged(before.id, before);
    this.#show(before, after);
  }

  /** @throws `worker_revoked`: nothing else happens outside its turn. */
  #requireUnchanged(id: string, before: WorkerRecord | undefined): void {
    if (this.#workers.get(id) !== before) throw fail("worker_revoked", undefined, { workerId: id });
  }

  #show(before: WorkerRecord | undefined, after: WorkerRecord): void {
    this.#workers.set(after.id, after);
    this.#identities.replace(before, after);
  }

  #find(id: string): WorkerRecord {
    const worker = this.#workers.get(id);
    if (worker === undefined)
      throw fail("worker_not_found", `There is no enrolled worker ${id}.`, { workerId: id });
    return worker;
  }

  #tellEnd(id: string): void {
    for (const listener of this.#endListeners) listener(id);
  }
}

/** What a stolen box may still have must not bring it back: neither its key nor a token from before. @throws `worker_revoked` */
function requireFresh(
  { id, revokedAtMs, joinToken, publicKey }: WorkerRecord,
  token: JoinTokenRecord,
  wantedKey: string,
): void {
  const isNewToken = token.id !== joinToken && token.createdAtMs >= (revokedAtMs ?? 0);
  if (isNewToken && wantedKey !== publicKey) return;
  const what = isNewToken ? "a new key" : "a join token that was made after that";
  throw fail("worker_revoked", `Worker ${id} has been revoked: it may join again with ${what}.`, {
    workerId: id,
  });
}

function inUse(id: string, why: string): Error {
  return fail("worker_id_in_use", `The worker id ${id} ${why}.`, { workerId: id });
}

function toDocument(worker: WorkerRecord): Document {
  return { collection: COLLECTION, id: worker.id, value: worker };
}
