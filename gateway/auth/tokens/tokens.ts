/** All tokens of a gateway: its own, and those of the issuers that it trusts. */

import type { Jwks } from "@legacygpu/shared/api/tokens";
import type { Clock } from "@legacygpu/shared/clock";
import { asLegacyGpuError, fail } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import type { RequestHead } from "../../http/exchange.ts";
import type { TokenSource } from "../authenticator.ts";
import type { Principal } from "../principal.ts";
import { AccessTokens, type IssuedToken, type LiveKeys, type WantedToken } from "./access-tokens.ts";
import { parseCompact } from "./compact-form.ts";
import { ExternalIssuers, type IssuerOptions } from "./external-issuers.ts";
import { type SigningKey, SigningKeys } from "./signing-keys.ts";

export interface TokensOptions {
  /** Holds the signing keys; made when it is not there. */
  readonly file: string;
  /** The keys that tokens are made from. */
  readonly keys: LiveKeys;
  readonly issuers: readonly IssuerOptions[];
  readonly clock: Clock;
  readonly log: Logger;
  /** Default 30 days. */
  readonly rotateEveryMs?: number | undefined;
}

interface Parts {
  readonly signingKeys: SigningKeys;
  readonly own: AccessTokens;
  readonly external: ExternalIssuers;
  readonly log: Logger;
}

export class Tokens implements TokenSource {
  readonly #parts: Parts;

  private constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** @throws `config_invalid`, `store_failed` */
  static async open({ file, keys, issuers, clock, log, rotateEveryMs }: TokensOptions): Promise<Tokens> {
    const external = new ExternalIssuers({ issuers, clock, log });
    const signingKeys = await SigningKeys.open({ file, clock, log, rotateEveryMs });
    return new Tokens({ signingKeys, own: new AccessTokens({ signingKeys, keys, clock }), external, log });
  }

  /** `urn:legacygpu:gateway:…`: issuer and audience of this gateway's tokens. */
  get issuer(): string {
    return this.#parts.signingKeys.issuer;
  }

  /** @throws `auth_invalid`, whatever is wrong; `timed_out` when an issuer's keys cannot be read now. */
  async authenticate(token: string, head: RequestHead): Promise<Principal> {
    try {
      return await this.#verify(token, head);
    } catch (error) {
      const known = asLegacyGpuError(error);
      if (known.code !== "auth_invalid") throw known;
      this.#parts.log.debug({ reason: known.details.reason, requestId: head.id }, "a token was refused");
      throw fail("auth_invalid");
    }
  }

  /** @throws `auth_forbidden` */
  issue(principal: Principal, wanted: WantedToken): Promise<IssuedToken> {
    return this.#parts.own.issue(principal, wanted);
  }

  jwks(): Jwks {
    return this.#parts.signingKeys.jwks();
  }

  /** @throws `store_failed` */
  rotateSigningKeys(): Promise<SigningKey> {
    return this.#parts.signingKeys.rotate();
  }

  close(): Promise<void> {
    return this.#parts.signingKeys.close();
  }

  async #verify(token: string, head: RequestHead): Promise<Principal> {
    const { own, external } = this.#parts;
    const form = parseCompact(token);
    return form.claims.iss === own.issuer ? own.verify(token, form, head) : external.verify(token, form);
  }
}
