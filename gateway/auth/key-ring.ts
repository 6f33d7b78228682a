/** All keys of a gateway: issued, checked, rotated, revoked; and those of its configuration. */

import { timingSafeEqual } from "node:crypto";
import type { CreateKey, KeyJson } from "@legacygpu/shared/api/keys";
import type { Clock, Timer } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import type { RequestHead } from "../http/exchange.ts";
import type { CredentialSource } from "./authenticator.ts";
import { type ConfiguredKey, readConfiguredKeys } from "./configured-keys.ts";
import { credentialId, hashCredential, newCredential } from "./credential.ts";
import { ExpiryWatch } from "./expiry-watch.ts";
import { HeldKey } from "./held-key.ts";
import { KeyFile } from "./key-file.ts";
import { type KeyKind, type KeyRecord, newRecord, successorOf } from "./key-record.ts";
import { Networks } from "./networks.ts";
import { isAdmin, type Principal } from "./principal.ts";

export interface IssuedKey {
  readonly id: string;
  readonly key: string;
  readonly json: KeyJson;
}

/** How long a use may be known in memory only. */
const USES_WRITTEN_AFTER_MS = 60_000;
const NOWHERE = new Networks([]);
/** Stands in for a key that does not exist, so that it costs the same as one that does. No text is known to have this hash. */
const NO_KEY = new HeldKey(
  {
    ...newRecord(
      { id: "", text: "", hash: Buffer.alloc(32) },
      "client",
      { name: "", scopes: [], networks: [] },
      0,
    ),
    revokedAtMs: 0,
  },
  "issued",
);

export class KeyRing implements CredentialSource {
  readonly #clock: Clock;
  readonly #log: Pick<Logger, "warn"> | undefined;
  readonly #file: KeyFile;
  readonly #expiries: ExpiryWatch;
  readonly #keys = new Map<string, HeldKey>();
  /** Those of the configuration, whose text has no id in it. */
  readonly #byHash = new Map<string, HeldKey>();
  readonly #revocationListeners = new Set<(keyId: string) => void>();
  /** Set while there are uses that only memory knows of. */
  #usesTimer: Timer | undefined;
  #state: "open" | "closed" = "open";

  private constructor(file: string, clock: Clock, log: Pick<Logger, "warn"> | undefined) {
    this.#clock = clock;
    this.#log = log;
    this.#file = new KeyFile(file, () => this.#issuedRecords());
    this.#expiries = new ExpiryWatch(clock, (id) => this.#tellEnd(id));
  }

  /**
   * @param log told when uses cannot be written.
   * @throws `config_invalid` when the file exists and cannot be understood: starting without keys would lock everyone out.
   */
  static async open(file: string, clock: Clock, log?: Pick<Logger, "warn">): Promise<KeyRing> {
    const ring = new KeyRing(file, clock, log);
    for (const record of await KeyFile.read(file)) ring.#watch(ring.#hold(record));
    return ring;
  }

  /** Nobody can administrate this gateway: it never issued a key, and its configuration has none that could. */
  get needsFirstKey(): boolean {
    for (const { source, principal } of this.#keys.values())
      if (source === "issued" || isAdmin(principal)) return false;
    return true;
  }

  /**
   * Once, at the start. @throws `config_invalid` for a key that is too short, has unknown permissions or is one that was issued here: that one
   * could no longer be revoked.
   */
  configure(keys: readonly ConfiguredKey[]): void {
    const issued = new Map([...this.#keys.values()].map(({ record }) => [record.sha256, record.id]));
    for (const key of readConfiguredKeys(keys, this.#clock.now())) {
      const { id, name, sha256 } = key.record;
      const issuedId = issued.get(sha256);
      if (issuedId !== undefined) {
        const message = `The key "${name}" of the configuration is the issued key ${issuedId}: take it out of the configuration.`;
        throw fail("config_invalid", message, { name, id: issuedId });
      }
      this.#keys.set(id, key);
      this.#byHash.set(sha256, key);
    }
  }

  async issue(kind: KeyKind, wanted: CreateKey): Promise<IssuedKey> {
    const credential = newCredential(kind);
    const key = this.#hold(newRecord(credential, kind, wanted, this.#clock.now()));
    try {
      await this.#file.save();
    } catch (error) {
      this.#keys.delete(credential.id);
      throw error;
    }
    this.#watch(key);
    return { id: credential.id, key: credential.text, json: key.toJson() };
  }

  /**
   * A new key in the place of one that lives on for `graceSeconds` at most.
   *
   * @throws `key_not_found`; `request_invalid` when the key is no longer in force or stands in the configuration.
   */
  async rotate(id: string, graceSeconds: number): Promise<IssuedKey> {
    const nowMs = this.#clock.now();
    const old = this.#issued(id, "rotated");
    if (!old.isInForce(nowMs)) {
      const why = old.record.revokedAtMs === null ? "has expired" : "is revoked";
      throw fail("request_invalid", `Key ${id} ${why}; make a new one instead of rotating it.`, { id });
    }
    const endsAtMs = old.record.expiresAtMs;
    const credential = newCredential(old.record.kind);
    const key = this.#hold(successorOf(old.record, credential, nowMs));
    old.setEnd(Math.min(endsAtMs ?? Number.POSITIVE_INFINITY, nowMs + graceSeconds * 1000));
    try {
      await this.#file.save();
    } catch (error) {
      this.#keys.delete(credential.id);
      old.setEnd(endsAtMs);
      throw error;
    }
    this.#watch(key);
    if (old.record.revokedAtMs === null) this.#expiries.watch(id, old.record.expiresAtMs ?? nowMs);
    return { id: credential.id, key: credential.text, json: key.toJson() };
  }

  /** Idempotent. @throws `key_not_found`; `request_invalid` when the key stands in the configuration. */
  async revoke(id: string): Promise<KeyJson> {
    const key = this.#issued(id, "revoked");
    if (key.record.revokedAtMs === null) {
      key.revoke(this.#clock.now());
      this.#expiries.forget(id);
      this.#tellEnd(id);
    }
    // Also when it was revoked before: that may be why it is done again.
    await this.#file.save();
    return key.toJson();
  }

  /**
   * Does the same work whatever is wrong: what is unknown is compared with a stand-in, hashes are compared in constant time, and a refusal
   * always comes after a look at the address. What is right is asked for its address only when it has networks: that is a system call.
   *
   * @throws `auth_invalid`, with nothing in it that tells an unknown, wrong, revoked, expired or misplaced key from the others.
   */
  authenticate(presented: string, head: Pick<RequestHead, "remoteAddress">): Principal {
    const nowMs = this.#clock.now();
    const { key, isInForce } = this.#recognise(presented, nowMs);
    if (isInForce && key.networks === undefined) return this.#use(key, nowMs);
    const isInside = (key.networks ?? NOWHERE).includes(head.remoteAddress);
    if (!isInForce || !isInside) throw fail("auth_invalid");
    return this.#use(key, nowMs);
  }

  /** Whether this is the text of a key in force, wherever it may be used from. */
  isValid(presented: string): boolean {
    return this.#recognise(presented, this.#clock.now()).isInForce;
  }

  /** Of a key that is in force: for what was made from it and must end with it. */
  principalOf(id: string): Principal | undefined {
    const key = this.#keys.get(id);
    return key?.isInForce(this.#clock.now()) ? key.principal : undefined;
  }

  /** Whether a key may be used from where the request comes from. */
  mayUse(id: string, head: Pick<RequestHead, "remoteAddress">): boolean {
    const key = this.#keys.get(id);
    return key !== undefined && (key.networks?.includes(head.remoteAddress) ?? true);
  }

  /** By somebody, which is more than that it has expired or was replaced. */
  isRevoked(id: string): boolean {
    return typeof this.#keys.get(id)?.record.revokedAtMs === "number";
  }

  list(): KeyJson[] {
    return [...this.#keys.values()].map((key) => key.toJson());
  }

  /** Told of every key that is revoked or expires, at once. */
  onRevoked(listener: (keyId: string) => void): void {
    this.#revocationListeners.add(listener);
  }

  /** Writes down the last uses. Idempotent. */
  async close(): Promise<void> {
    this.#state = "closed";
    this.#expiries.close();
    const hasUses = this.#usesTimer !== undefined;
    this.#usesTimer?.cancel();
    this.#usesTimer = undefined;
    if (hasUses) await this.#file.save();
    await this.#file.settled();
  }

  #recognise(presented: string, nowMs: number): { readonly key: HeldKey; readonly isInForce: boolean } {
    const hash = hashCredential(presented);
    const byHash = this.#byHash.get(hash.toString("hex"));
    const byId = this.#keys.get(credentialId(presented) ?? "");
    const key = byHash ?? byId ?? NO_KEY;
    const isRight = timingSafeEqual(hash, key.hash);
    const isAlive = key.isInForce(nowMs);
    return { key, isInForce: isRight && isAlive };
  }

  #use(key: HeldKey, nowMs: number): Principal {
    if (key.use(nowMs) && key.source === "issued" && this.#state === "open")
      this.#usesTimer ??= this.#clock.after(USES_WRITTEN_AFTER_MS, () => this.#writeUses());
    return key.principal;
  }

  #writeUses(): void {
    this.#usesTimer = undefined;
    this.#file.save().catch((error: unknown) => {
      this.#log?.warn({ err: error }, "the last uses of keys could not be written");
    });
  }

  /** @throws `key_not_found`, `request_invalid` */
  #issued(id: string, verb: string): HeldKey {
    const key = this.#keys.get(id);
    if (key === undefined) throw fail("key_not_found", `There is no key ${id}.`);
    if (key.source === "issued") return key;
    const message = `Key ${id} stands in the configuration and cannot be ${verb} here: take it out of the configuration.`;
    throw fail("request_invalid", message, { id });
  }

  #hold(record: KeyRecord): HeldKey {
    const key = new HeldKey(record, "issued");
    this.#keys.set(record.id, key);
    return key;
  }

  #watch(key: HeldKey): void {
    const { id, expiresAtMs } = key.record;
    if (expiresAtMs !== null && key.isInForce(this.#clock.now())) this.#expiries.watch(id, expiresAtMs);
  }

  #tellEnd(id: string): void {
    for (const listener of this.#revocationListeners) listener(id);
  }

  #issuedRecords(): KeyRecord[] {
    return [...this.#keys.values()].filter(({ source }) => source === "issued").map(({ record }) => record);
  }
}
