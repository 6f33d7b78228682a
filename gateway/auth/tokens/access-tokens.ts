/**
 * Access tokens of this gateway (RFC 9068): made from an API key, good for a quarter of an hour, and never for more than the key.
 *
 * Whatever such a token says about its holder is looked up at the key at every use. Without its key it is nothing.
 */

import { randomBytes } from "node:crypto";
import { SCOPES, type Scope } from "@legacygpu/shared/api/keys";
import { MAX_TOKEN_SECONDS } from "@legacygpu/shared/api/tokens";
import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { z } from "zod";
import type { RequestHead } from "../../http/exchange.ts";
import type { Principal } from "../principal.ts";
import type { CompactForm } from "./compact-form.ts";
import { OWN_ALGORITHM, signToken, TOKEN_TYPE, verifySignature } from "./jws.ts";
import { refused } from "./refusal.ts";
import { commonScopes, includesScope } from "./scope-overlap.ts";
import type { SigningKeys } from "./signing-keys.ts";
import { checkTimes } from "./token-times.ts";

/** What tokens need of the keys that they were made from. */
export interface LiveKeys {
  /** @returns undefined for a key that is unknown, revoked or expired. */
  principalOf(keyId: string): Principal | undefined;
  /** Whether the key may be used from where the request comes from. */
  mayUse(keyId: string, head: RequestHead): boolean;
}

export interface AccessTokensOptions {
  readonly signingKeys: SigningKeys;
  readonly keys: LiveKeys;
  readonly clock: Clock;
}

export interface WantedToken {
  /** Default: all that the key has. */
  readonly scopes?: readonly Scope[] | undefined;
  readonly ttlSeconds: number;
}

export interface IssuedToken {
  readonly id: string;
  readonly text: string;
  readonly scopes: readonly Scope[];
  /** Shorter than wanted when the key ends before. */
  readonly ttlSeconds: number;
}

/** Nothing may stand beside these three: no key, no address of one, no extension. */
const headerSchema = z.strictObject({
  alg: z.literal(OWN_ALGORITHM),
  typ: z.literal(TOKEN_TYPE),
  kid: z.string().max(64),
});

const claimsSchema = z.strictObject({
  iss: z.string(),
  aud: z.string(),
  sub: z.string().min(1).max(128),
  jti: z.string().min(1).max(64),
  iat: z.int().nonnegative(),
  nbf: z.int().nonnegative(),
  exp: z.int().nonnegative(),
  scope: z
    .string()
    .max(200)
    .transform((text) => text.split(" "))
    .pipe(z.array(z.enum(SCOPES)).min(1)),
});

export class AccessTokens {
  readonly #options: AccessTokensOptions;

  constructor(options: AccessTokensOptions) {
    this.#options = options;
  }

  get issuer(): string {
    return this.#options.signingKeys.issuer;
  }

  /** @throws `auth_forbidden` for whoever did not come with an API key, and for a scope that the key does not have. */
  async issue(principal: Principal, { scopes: wanted, ttlSeconds }: WantedToken): Promise<IssuedToken> {
    const { signingKeys, clock } = this.#options;
    requireApiKey(principal);
    const scopes = grantedScopes(principal, wanted);
    const iat = Math.floor(clock.now() / 1000);
    const exp = Math.min(
      iat + ttlSeconds,
      Math.floor((principal.expiresAtMs ?? Number.POSITIVE_INFINITY) / 1000),
    );
    if (exp <= iat) throw fail("auth_invalid");
    const { kid, privateKey } = signingKeys.current;
    const id = randomBytes(16).toString("base64url");
    const { issuer } = signingKeys;
    const scope = scopes.join(" ");
    const claims = { iss: issuer, aud: issuer, sub: principal.keyId, jti: id, iat, nbf: iat, exp, scope };
    const text = await signToken({ kid, privateKey, claims });
    return { id, text, scopes, ttlSeconds: exp - iat };
  }

  /** @throws `auth_invalid` */
  async verify(token: string, { header, claims }: CompactForm, head: RequestHead): Promise<Principal> {
    const { signingKeys, clock } = this.#options;
    const said = headerSchema.safeParse(header);
    if (!said.success) throw refused("header");
    const key = signingKeys.publicKey(said.data.kid);
    if (key === undefined) throw refused("key id");
    if ((await verifySignature(token, key, [OWN_ALGORITHM])) !== "valid") throw refused("signature");
    const parsed = claimsSchema.safeParse(claims);
    if (!parsed.success) throw refused("claims");
    const { iss, aud, sub, jti, exp, scope } = parsed.data;
    if (iss !== this.issuer) throw refused("issuer");
    if (aud !== this.issuer) throw refused("audience");
    checkTimes(parsed.data, MAX_TOKEN_SECONDS, clock.now());
    return this.#holder({ keyId: sub, tokenId: jti, expiresAtMs: exp * 1000, scopes: new Set(scope) }, head);
  }

  #holder(
    token: {
      readonly keyId: string;
      readonly tokenId: string;
      readonly expiresAtMs: number;
      readonly scopes: ReadonlySet<Scope>;
    },
    head: RequestHead,
  ): Principal {
    const { keys } = this.#options;
    const owner = keys.principalOf(token.keyId);
    if (owner === undefined || owner.kind !== "client") throw refused("API key");
    if (!keys.mayUse(token.keyId, head)) throw refused("address");
    return {
      kind: "client",
      keyId: owner.keyId,
      tenant: owner.tenant,
      name: owner.name,
      scopes: commonScopes(token.scopes, owner.scopes),
      models: owner.models,
      sites: owner.sites,
      tokenId: token.tokenId,
      expiresAtMs: Math.min(token.expiresAtMs, owner.expiresAtMs ?? token.expiresAtMs),
    };
  }
}

/** A token that could be exchanged for the next one would live for ever. */
function requireApiKey({ kind, tokenId }: Principal): void {
  if (kind === "client" && tokenId === undefined) return;
  throw fail("auth_forbidden", "Only an API key of a client can be exchanged for a token.");
}

function grantedScopes({ scopes }: Principal, wanted: readonly Scope[] | undefined): readonly Scope[] {
  const asked = new Set(wanted ?? [...scopes].filter((scope) => scope !== "worker"));
  const missing = [...asked].find((scope) => scope === "worker" || !includesScope(scopes, scope));
  if (missing !== undefined) {
    throw fail("auth_forbidden", `This key cannot give a token the scope \`${missing}\`.`, {
      requiredScope: missing,
      scopes: [...scopes],
    });
  }
  if (asked.size === 0) throw fail("auth_forbidden", "This key has no scope that a token could have.");
  return [...asked];
}
