/** Makes and checks signatures of tokens. The only importer of jose: claims are nobody's business here. */

import type { KeyObject } from "node:crypto";
import { compactVerify, createLocalJWKSet, errors, type JSONWebKeySet, SignJWT } from "jose";
import { z } from "zod";

/** Public keys of an issuer, to be chosen from by `kid` and `alg`. */
export type KeySet = ReturnType<typeof createLocalJWKSet>;

/** RFC 7517; members that are no keys we know are never chosen. */
const keySetSchema = z.looseObject({ keys: z.array(z.looseObject({ kty: z.string() })).max(100) });

export type Verdict = "valid" | "invalid" | "key unknown";

export interface TokenToSign {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly claims: Readonly<Record<string, string | number>>;
}

/** Header of RFC 9068: this is an access token and nothing else. */
export const TOKEN_TYPE = "at+jwt";
export const OWN_ALGORITHM = "EdDSA";

export function signToken({ kid, privateKey, claims }: TokenToSign): Promise<string> {
  return new SignJWT({ ...claims })
    .setProtectedHeader({ alg: OWN_ALGORITHM, typ: TOKEN_TYPE, kid })
    .sign(privateKey);
}

/** Throws when it is not of the form. */
export function readKeySet(jwks: unknown): KeySet {
  return createLocalJWKSet(keySetSchema.parse(jwks) as JSONWebKeySet);
}

export async function verifySignature(
  token: string,
  key: KeyObject | KeySet,
  algorithms: readonly string[],
): Promise<Verdict> {
  const options = { algorithms: [...algorithms] };
  try {
    await (typeof key === "function"
      ? compactVerify(token, key, options)
      : compactVerify(token, key, options));
    return "valid";
  } catch (error) {
    return error instanceof errors.JWKSNoMatchingKey ? "key unknown" : "invalid";
  }
}
