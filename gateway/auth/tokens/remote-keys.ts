/**
 * The public keys of one issuer, as it publishes them: read when first needed, kept for ten minutes, one request at a time.
 *
 * Whoever sends tokens decides how often keys are looked up, and must not decide how often the issuer is asked. So a key that is
 * not there has the set read again at most every half minute, and an issuer that failed is left alone for a few seconds.
 */

import type { Clock } from "@legacygpu/shared/clock";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import { z } from "zod";
import { fetchIssuerDocument, isSafeIssuerUrl } from "./issuer-fetch.ts";
import { type KeySet, readKeySet, verifySignature } from "./jws.ts";
import { refused } from "./refusal.ts";

const FRESH_MS = 600_000;
const REREAD_AFTER_MS = 30_000;
const RETRY_AFTER_FAILURE_MS = 5_000;
const TIMEOUT_MS = 5_000;

export interface RemoteKeysOptions {
  readonly issuer: string;
  /** Default: what the issuer's discovery document names. */
  readonly jwksUri?: string | undefined;
  readonly caPem?: string | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Loaded {
  readonly keys: KeySet;
  readonly atMs: number;
}

export class RemoteKeys {
  readonly #options: RemoteKeysOptions;
  #loaded: Loaded | undefined;
  #loading: Promise<Loaded> | undefined;
  #failedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: RemoteKeysOptions) {
    this.#options = options;
  }

  /** @throws `auth_invalid`; `timed_out` when the issuer cannot be asked, so that nobody can tell. */
  async verify(token: string, algorithms: readonly string[]): Promise<void> {
    const loaded = this.#fresh() ?? (await this.#load());
    let verdict = await verifySignature(token, loaded.keys, algorithms);
    if (verdict === "key unknown" && this.#ageMs(loaded) >= REREAD_AFTER_MS) {
      verdict = await verifySignature(token, (await this.#load()).keys, algorithms);
    }
    if (verdict === "key unknown") throw refused("key id");
    if (verdict === "invalid") throw refused("signature");
  }

  #fresh(): Loaded | undefined {
    return this.#loaded !== undefined && this.#ageMs(this.#loaded) < FRESH_MS ? this.#loaded : undefined;
  }

  #ageMs({ atMs }: Loaded): number {
    return this.#options.clock.monotonic() - atMs;
  }

  #load(): Promise<Loaded> {
    this.#loading ??= this.#loadNow().finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  async #loadNow(): Promise<Loaded> {
    const { clock, log, issuer } = this.#options;
    if (clock.monotonic() - this.#failedAtMs < RETRY_AFTER_FAILURE_MS) throw unreachable();
    const expiry = new AbortController();
    const timer = clock.after(TIMEOUT_MS, () => expiry.abort());
    try {
      const keys = readKeySet(await this.#fetch(await this.#keysAddress(expiry.signal), expiry.signal));
      this.#loaded = { keys, atMs: clock.monotonic() };
      return this.#loaded;
    } catch (error) {
      this.#failedAtMs = clock.monotonic();
      log.warn({ err: error, issuer }, "the keys of a token issuer could not be read");
      throw unreachable();
    } finally {
      timer.cancel();
    }
  }

  async #keysAddress(signal: AbortSignal): Promise<string> {
    const { issuer, jwksUri } = this.#options;
    if (jwksUri !== undefined) return jwksUri;
    const address = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
    // OpenID Connect Discovery, section 4.3: a document that speaks for another issuer is not this one's.
    const schema = z.looseObject({ issuer: z.literal(issuer), jwks_uri: z.string().refine(isSafeIssuerUrl) });
    return schema.parse(await this.#fetch(address, signal)).jwks_uri;
  }

  #fetch(address: string, signal: AbortSignal): Promise<unknown> {
    return fetchIssuerDocument(address, { caPem: this.#options.caPem, signal });
  }
}

function unreachable(): LegacyGpuError {
  return fail("timed_out", "The keys of this token's issuer cannot be read now; try again in some seconds.");
}
