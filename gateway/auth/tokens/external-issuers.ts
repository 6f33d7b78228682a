/** Tokens of OpenID Connect issuers that the operator trusts: who signed them, and what their claims are worth here. */

import { createHash } from "node:crypto";
import { identifierSchema, type Scope } from "@legacygpu/shared/api/keys";
import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import { z } from "zod";
import type { Principal } from "../principal.ts";
import type { CompactForm, JsonObject } from "./compact-form.ts";
import { isSafeIssuerUrl } from "./issuer-fetch.ts";
import { refused } from "./refusal.ts";
import { RemoteKeys } from "./remote-keys.ts";
import { checkTimes } from "./token-times.ts";

export interface IssuerOptions {
  /** As in the claim `iss`, to the letter. */
  readonly issuer: string;
  /** As in the claim `aud`: a name that the issuer gives this gateway and nobody else. */
  readonly audience: string;
  /** Default: found by OpenID Connect Discovery. */
  readonly jwksUri?: string | undefined;
  /** The only CA that is trusted for the issuer. Default: those that Node trusts. */
  readonly caPem?: string | undefined;
  /** Default ES256, RS256, EdDSA, PS256. */
  readonly algorithms?: readonly string[] | undefined;
  readonly scopes: {
    /** A list, or text with spaces. `realm_access.roles` finds `roles` inside of `realm_access`. */
    readonly claim: string;
    /** What each value of the claim permits. Other values permit nothing. */
    readonly map: Readonly<Record<string, readonly Scope[]>>;
  };
  /** Callers with the same value of this claim share a tenant. Default: every subject is a tenant of its own. */
  readonly tenantClaim?: string | undefined;
}

export interface ExternalIssuersOptions {
  readonly issuers: readonly IssuerOptions[];
  readonly clock: Clock;
  readonly log: Logger;
}

interface Issuer {
  readonly options: IssuerOptions;
  readonly algorithms: readonly string[];
  readonly keys: RemoteKeys;
}

const DEFAULT_ALGORITHMS = ["ES256", "RS256", "EdDSA", "PS256"];
/** Nothing symmetric: whoever can check such a token can make one. */
const ALGORITHMS = new Set([...DEFAULT_ALGORITHMS, "RS384", "RS512", "PS384", "PS512", "ES384", "ES512"]);
/** More than any issuer gives by default. */
const MAX_LIFE_SECONDS = 86_400;

/** Ways to hand in a key, and ways to change what is signed. */
const FORBIDDEN_IN_HEADER = ["jwk", "jku", "x5c", "x5u", "crit", "b64", "zip"];
const headerSchema = z.looseObject({
  alg: z.string(),
  kid: z.string().max(1024).optional(),
  /** Many issuers leave it out. Other values mean tokens for something else: logout, events, proofs. */
  typ: z
    .string()
    .regex(/^(application\/)?(at\+)?jwt$/i)
    .optional(),
});
const claimsSchema = z.looseObject({
  aud: z.union([z.string(), z.array(z.string())]),
  sub: z.string().min(1).max(255),
  iat: z.number().nonnegative(),
  nbf: z.number().nonnegative().optional(),
  exp: z.number().nonnegative(),
});

export class ExternalIssuers {
  readonly #byName: ReadonlyMap<string, Issuer>;
  readonly #clock: Clock;

  /** @throws `config_invalid` */
  constructor({ issuers, clock, log }: ExternalIssuersOptions) {
    this.#clock = clock;
    const byName = new Map<string, Issuer>();
    for (const options of issuers) {
      check(options, byName);
      const { issuer, jwksUri, caPem, algorithms = DEFAULT_ALGORITHMS } = options;
      const keys = new RemoteKeys({ issuer, jwksUri, caPem, clock, log });
      byName.set(issuer, { options, algorithms, keys });
    }
    this.#byName = byName;
  }

  /** @throws `auth_invalid`; `timed_out` when the issuer's keys cannot be read. */
  async verify(token: string, { header, claims }: CompactForm): Promise<Principal> {
    const issuer = typeof claims.iss === "string" ? this.#byName.get(claims.iss) : undefined;
    if (issuer === undefined) throw refused("issuer");
    const { options, algorithms, keys } = issuer;
    checkHeader(header, algorithms);
    const parsed = claimsSchema.safeParse(claims);
    if (!parsed.success) throw refused("claims");
    const { aud, sub, exp } = parsed.data;
    if (aud !== options.audience && !(Array.isArray(aud) && aud.includes(options.audience))) {
      throw refused("audience");
    }
    checkTimes(parsed.data, MAX_LIFE_SECONDS, this.#clock.now());
    // Last, because it may ask the issuer: what is wrong in any other way never causes a request.
    await keys.verify(token, algorithms);
    const keyId = `ext:${digest(`${options.issuer}\n${sub}`, 16)}`;
    return {
      kind: "external",
      keyId,
      tenant: tenantOf(options, claims) ?? keyId,
      name: sub,
      scopes: scopesOf(options, claims),
      expiresAtMs: exp * 1000,
    };
  }
}

function checkHeader(header: JsonObject, algorithms: readonly string[]): void {
  const parsed = headerSchema.safeParse(header);
  if (!parsed.success || !algorithms.includes(parsed.data.alg)) throw refused("header");
  if (FORBIDDEN_IN_HEADER.some((name) => Object.hasOwn(header, name))) throw refused("header");
}

/** The part for the issuer keeps two issuers from naming one tenant; no key of this gateway can have a colon in its tenant. */
function tenantOf({ issuer, tenantClaim }: IssuerOptions, claims: JsonObject): string | undefined {
  if (tenantClaim === undefined) return undefined;
  const value = identifierSchema.safeParse(claimAt(claims, tenantClaim));
  if (!value.success) throw refused("claims");
  return `ext:${digest(issuer, 8)}:${value.data}`;
}

function scopesOf({ scopes: { claim, map } }: IssuerOptions, claims: JsonObject): ReadonlySet<Scope> {
  const value = claimAt(claims, claim);
  const values = typeof value === "string" ? value.split(" ") : Array.isArray(value) ? value : [];
  const granted = new Set<Scope>();
  for (const name of values) {
    if (typeof name !== "string" || !Object.hasOwn(map, name)) continue;
    for (const scope of map[name] ?? []) granted.add(scope);
  }
  return granted;
}

/** A claim may have dots in its own name, as those that are URLs. */
function claimAt(claims: JsonObject, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path];
  let value: unknown = claims;
  for (const name of path.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as JsonObject)[name];
  }
  return value;
}

function check(options: IssuerOptions, before: ReadonlyMap<string, Issuer>): void {
  const { issuer, jwksUri, algorithms = [], audience, scopes } = options;
  for (const url of jwksUri === undefined ? [issuer] : [issuer, jwksUri]) {
    if (!isSafeIssuerUrl(url)) throw invalid(issuer, `${url} is not an https:// address`);
  }
  if (before.has(issuer)) throw invalid(issuer, "it is given twice");
  if (audience === "") throw invalid(issuer, "its audience is empty");
  const foreign = algorithms.find((algorithm) => !ALGORITHMS.has(algorithm));
  if (foreign !== undefined || options.algorithms?.length === 0) {
    throw invalid(issuer, `algorithms: ${foreign ?? "none"}; possible are ${[...ALGORITHMS].join(", ")}`);
  }
  if (Object.values(scopes.map).some((granted) => granted.includes("worker"))) {
    throw invalid(issuer, "no token may have the scope `worker`; machines enrol");
  }
}

function invalid(issuer: string, what: string): Error {
  return fail("config_invalid", `Token issuer ${issuer}: ${what}.`, { issuer });
}

function digest(text: string, chars: number): string {
  return createHash("sha256").update(text).digest("hex").slice(0, chars);
}
