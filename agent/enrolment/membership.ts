/** An enrolment in use: with each identity the gateway may tell another site and other CAs, or that this worker is revoked. */

import type { KeyObject } from "node:crypto";
import type { Identity } from "@legacygpu/shared/api/enrolment";
import { asLegacyGpuError, fail } from "@legacygpu/shared/errors";
import { certificatesIn } from "@legacygpu/shared/pem";
import { describeOffset } from "../link/failure.ts";
import type { CheckedOptions } from "../options.ts";
import type { Access, AccessHandlers } from "./access.ts";
import { GatewayApi } from "./gateway-api.ts";
import { IdentityKeeper } from "./identity-keeper.ts";
import type { Enrolment, IdentityStore, StoredIdentity } from "./identity-store.ts";
import { type Prover, proveIdentity } from "./proof.ts";

/** More is no effect of a slow line. */
const CLOCK_TOLERANCE_MS = 300_000;

/** @throws `config_invalid` when the worker's key is missing or damaged. */
export async function openMembership(
  enrolment: Enrolment,
  store: IdentityStore,
  options: CheckedOptions,
): Promise<Access> {
  const key = await store.readKey();
  if (key === undefined) {
    const message = `The private key of this worker, identity.key in ${options.stateDir}, is missing. Join again with a new join token.`;
    throw fail("config_invalid", message, { folder: options.stateDir });
  }
  const stored = await store.readIdentity(enrolment.tokenHash);
  return new Membership({ enrolment, key, stored, store, options });
}

interface Parts {
  readonly enrolment: Enrolment;
  readonly key: KeyObject;
  readonly stored: StoredIdentity | undefined;
  readonly store: IdentityStore;
  readonly options: CheckedOptions;
}

class Membership implements Access {
  readonly isEnrolled = true;
  readonly gateway: URL;
  readonly workerId: string;
  readonly credentials: IdentityKeeper;
  readonly #store: IdentityStore;
  readonly #options: CheckedOptions;
  readonly #prover: Prover;
  #handlers: AccessHandlers | undefined;
  #enrolment: Enrolment;
  #isClockWrong = false;

  constructor({ enrolment, key, stored, store, options }: Parts) {
    const { env, clock, random, log } = options;
    this.gateway = new URL(enrolment.gateway);
    this.workerId = enrolment.workerId;
    this.#enrolment = enrolment;
    this.#store = store;
    this.#options = options;
    const api = new GatewayApi({ gateway: this.gateway, caPem: () => this.caPem, env, clock });
    this.#prover = { api, key, workerId: enrolment.workerId };
    this.credentials = new IdentityKeeper({
      stored,
      prove: () => this.#prove(),
      onIdentity: (identity, held) => this.#learn(identity, held),
      onRefused: (error) => this.#handlers?.onRefused(error),
      clock,
      random,
      log,
    });
  }

  get site(): string {
    return this.#enrolment.site || this.#options.site;
  }

  get caPem(): string | undefined {
    return this.#enrolment.caPem;
  }

  start(handlers: AccessHandlers): void {
    this.#handlers = handlers;
    this.credentials.start();
  }

  close(): void {
    this.credentials.close();
  }

  async #prove(): Promise<Identity> {
    try {
      return await proveIdentity(this.#prover);
    } catch (error) {
      // Kept, so that the box makes itself a fresh key when it joins again.
      if (asLegacyGpuError(error).code === "worker_revoked") await this.#keep({ isRevoked: true });
      throw error;
    }
  }

  async #learn(identity: Identity, held: Omit<StoredIdentity, "tokenHash">): Promise<void> {
    this.#compareClocks(identity.server_time);
    const caPem = this.#newTrust(identity.ca_pem);
    await this.#keep({ site: identity.site, isRevoked: false, ...(caPem === undefined ? {} : { caPem }) });
    if (caPem !== undefined) this.#handlers?.onTrust(caPem);
    await this.#written(this.#store.writeIdentity({ tokenHash: this.#enrolment.tokenHash, ...held }));
  }

  /** @returns undefined when nothing is to change. */
  #newTrust(caPem: string): string | undefined {
    if (caPem.trim() === "" || caPem === this.caPem) return undefined;
    try {
      const count = certificatesIn(caPem).length;
      this.#options.log.info({ count }, "the gateway named the CAs to trust from now on");
      return caPem;
    } catch {
      this.#options.log.warn("The gateway sent CAs that cannot be read; the ones from before stay.");
      return undefined;
    }
  }

  #compareClocks(serverTime: string): void {
    const aheadMs = this.#options.clock.now() - Date.parse(serverTime);
    const isWrong = Math.abs(aheadMs) > CLOCK_TOLERANCE_MS;
    if (isWrong && !this.#isClockWrong) {
      const message = `The clock of this machine is ${describeOffset(aheadMs)} the gateway's. Set the clock.`;
      this.#options.log.warn({ code: "clock_wrong", clockAheadMs: aheadMs }, message);
    }
    this.#isClockWrong = isWrong;
  }

  async #keep(change: Partial<Enrolment>): Promise<void> {
    const before = this.#enrolment;
    const after = { ...before, ...change };
    this.#enrolment = after;
    const isSame = after.site === before.site && after.caPem === before.caPem;
    if (!isSame || after.isRevoked !== before.isRevoked)
      await this.#written(this.#store.writeEnrolment(after));
  }

  /** A disk that is full must not keep the box out: it only costs the next start a proof. */
  async #written(writing: Promise<void>): Promise<void> {
    try {
      await writing;
    } catch (error) {
      this.#options.log.warn({ err: error }, "what the gateway said could not be written to the disk");
    }
  }
}
