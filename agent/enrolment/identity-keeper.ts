/**
 * Has an identity of the gateway in hand, and renews it.
 *
 * It is renewed at two thirds of its life, give or take 5 % so that a fleet which joined together does not come together for ever. A
 * box that could not, because it was off or cut off for however long, proves itself when it next dials.
 *
 * The age of an identity is the longer of what two clocks say: the monotonic one, which stands still while a machine sleeps, and the wall
 * clock, which jumps. After a restart only the wall clock is left, and an identity from the future is not believed. In doubt the box
 * proves itself again, and if the gateway cannot be asked just then, it tries the identity that it has: the gateway's clock decides.
 */

import type { Identity } from "@legacygpu/shared/api/enrolment";
import { Backoff } from "@legacygpu/shared/backoff";
import type { Clock, Random, Timer } from "@legacygpu/shared/clock";
import { asLegacyGpuError, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import type { Credentials } from "../link/credentials.ts";
import { askedWaitMs } from "../link/retry-after.ts";
import type { StoredIdentity } from "./identity-store.ts";

export interface IdentityKeeperOptions {
  /** Of an earlier process. */
  readonly stored: Omit<StoredIdentity, "tokenHash"> | undefined;
  /** Asks the gateway for an identity. */
  prove(): Promise<Identity>;
  /** A new one is there; called before it is used, and waited for. */
  onIdentity(identity: Identity, held: Omit<StoredIdentity, "tokenHash">): Promise<void>;
  /** There will be no other: the gateway said why. */
  onRefused(error: LegacyGpuError): void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

interface Held {
  readonly bearer: string;
  readonly lifeMs: number;
  readonly obtainedAtMs: number;
  /** Undefined: by an earlier process. */
  readonly obtainedMonotonicMs: number | undefined;
}

const RENEW_AT = 2 / 3;
const SPREAD = 0.05;
/** What a request may take that is sent at the last moment. */
const MARGIN_MS = 30_000;
const RENEWAL_BACKOFF = { baseMs: 60_000, capMs: 900_000 };

export class IdentityKeeper implements Credentials {
  readonly #options: IdentityKeeperOptions;
  readonly #backoff: Backoff;
  #held: Held | undefined;
  #proving: Promise<Held> | undefined;
  #renewal: Timer | undefined;
  #isClosed = false;

  constructor(options: IdentityKeeperOptions) {
    this.#options = options;
    this.#backoff = new Backoff(RENEWAL_BACKOFF, options.random);
    if (options.stored === undefined) return;
    const { bearer, lifeMs, obtainedAtMs } = options.stored;
    this.#held = { bearer, lifeMs, obtainedAtMs, obtainedMonotonicMs: undefined };
  }

  /** Begins to renew what there is; what is not believed waits for the next dial. */
  start(): void {
    if (this.#held !== undefined && this.#isAlive(this.#held)) this.#renewInTime(this.#held);
  }

  async bearer(): Promise<string> {
    const held = this.#held;
    if (held !== undefined && this.#isAlive(held)) return held.bearer;
    try {
      return (await this.#prove()).bearer;
    } catch (error) {
      if (this.#held !== undefined && asLegacyGpuError(error).retryable) return this.#held.bearer;
      throw error;
    }
  }

  refused(bearer: string): boolean {
    // Another one may be there already: several are refused at the same moment.
    if (this.#held?.bearer === bearer) this.#held = undefined;
    return true;
  }

  close(): void {
    this.#isClosed = true;
    this.#renewal?.cancel();
  }

  #ageMs({ obtainedAtMs, obtainedMonotonicMs }: Held): number | undefined {
    const { clock } = this.#options;
    const wallMs = clock.now() - obtainedAtMs;
    if (obtainedMonotonicMs !== undefined) return Math.max(wallMs, clock.monotonic() - obtainedMonotonicMs);
    return wallMs < 0 ? undefined : wallMs;
  }

  #isAlive(held: Held): boolean {
    const ageMs = this.#ageMs(held);
    return ageMs !== undefined && ageMs < held.lifeMs - MARGIN_MS;
  }

  /** However many ask, the gateway is asked once. */
  #prove(): Promise<Held> {
    this.#proving ??= this.#proveNow().finally(() => {
      this.#proving = undefined;
    });
    return this.#proving;
  }

  async #proveNow(): Promise<Held> {
    const { clock, log, prove, onIdentity } = this.#options;
    const askedMs = clock.monotonic();
    const identity = await prove();
    const lifeMs = identity.expires_in * 1000;
    const held = {
      bearer: identity.identity,
      lifeMs,
      obtainedAtMs: clock.now(),
      obtainedMonotonicMs: askedMs,
    };
    await onIdentity(identity, { bearer: held.bearer, lifeMs, obtainedAtMs: held.obtainedAtMs });
    this.#held = held;
    this.#backoff.reset();
    this.#renewInTime(held);
    log.info({ lifeS: identity.expires_in }, "the worker has proved its identity");
    return held;
  }

  #renewInTime(held: Held): void {
    const spread = 1 + SPREAD * (2 * this.#options.random() - 1);
    this.#renewIn(held.lifeMs * RENEW_AT * spread - (this.#ageMs(held) ?? 0));
  }

  #renewIn(delayMs: number): void {
    if (this.#isClosed) return;
    this.#renewal?.cancel();
    this.#renewal = this.#options.clock.after(Math.max(delayMs, 0), () => void this.#renew());
  }

  async #renew(): Promise<void> {
    try {
      await this.#prove();
    } catch (error) {
      if (this.#isClosed) return;
      const reason = asLegacyGpuError(error);
      if (isFinal(reason)) return this.#options.onRefused(reason);
      const delayMs = Math.max(askedWaitMs(reason) ?? 0, this.#backoff.nextMs());
      const fields = { code: reason.code, retryInMs: Math.round(delayMs) };
      this.#options.log.warn(fields, `The identity could not be renewed: ${reason.message}`);
      this.#renewIn(delayMs);
    }
  }
}

/** What the gateway said of this worker; what stands in the way to the gateway may change. */
function isFinal({ code }: LegacyGpuError): boolean {
  return code === "worker_revoked" || code === "auth_invalid";
}
