/** Wire form of access tokens (JWT) on HTTP. */

import { z } from "zod";
import { SCOPES } from "./keys.ts";

export const MAX_TOKEN_SECONDS = 900;

/** Body of `POST /auth/token`; the API key is in the `Authorization` header. An empty body asks for everything that the key may. */
export const createTokenSchema = z.strictObject({
  /** A part of what the key may. Default: all of it. */
  scopes: z.array(z.enum(SCOPES)).min(1).optional(),
  /** Seconds, 30 to 900. Default: 900. */
  ttl: z.int().min(30).max(MAX_TOKEN_SECONDS).default(MAX_TOKEN_SECONDS),
});
export type CreateToken = z.input<typeof createTokenSchema>;

/** Named as in RFC 6749, section 5.1. */
export const tokenSchema = z.object({
  access_token: z.string(),
  token_type: z.literal("Bearer"),
  expires_in: z.int(),
  /** Separated by spaces. */
  scope: z.string(),
});
export type TokenJson = z.infer<typeof tokenSchema>;

/** Answer of `GET /.well-known/jwks.json` (RFC 7517). */
export const jwksSchema = z.object({
  keys: z.array(
    z.object({
      kty: z.literal("OKP"),
      crv: z.literal("Ed25519"),
      x: z.string(),
      kid: z.string(),
      use: z.literal("sig"),
      alg: z.literal("EdDSA"),
    }),
  ),
});
export type Jwks = z.infer<typeof jwksSchema>;

/** Answer of `POST /auth/signing-keys/rotate`. */
export const rotatedSigningKeySchema = z.object({
  kid: z.string(),
  /** Until then tokens are still signed with the key before, so that everybody has read the new one. */
  signs_from: z.string(),
});
