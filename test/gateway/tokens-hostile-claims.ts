/** Tokens that are signed with the right key and claim what may not be claimed. */

import { plus, type Row } from "./tokens-loot.ts";
import { forge } from "./tokens-rig.ts";

export const CLAIMS: readonly Row[] = [
  ["no iss", "issuer", ({ withClaims }) => withClaims({ iss: undefined })],
  ["iss of another", "issuer", ({ withClaims }) => withClaims({ iss: "urn:legacygpu:gateway:other" })],
  ["iss with a slash more", "issuer", ({ withClaims, claims }) => withClaims({ iss: `${claims.iss}/` })],
  [
    "iss in capitals",
    "issuer",
    ({ withClaims, claims }) => withClaims({ iss: String(claims.iss).toUpperCase() }),
  ],
  ["iss as a list", "issuer", ({ withClaims, claims }) => withClaims({ iss: [claims.iss] })],
  ["no aud", "claims", ({ withClaims }) => withClaims({ aud: undefined })],
  ["aud of another", "audience", ({ withClaims }) => withClaims({ aud: "urn:legacygpu:gateway:other" })],
  ["aud empty", "audience", ({ withClaims }) => withClaims({ aud: "" })],
  [
    "aud as a list with us in it",
    "claims",
    ({ withClaims, claims }) => withClaims({ aud: [claims.aud, "x"] }),
  ],
  ["aud as an empty list", "claims", ({ withClaims }) => withClaims({ aud: [] })],
  ["no sub", "claims", ({ withClaims }) => withClaims({ sub: undefined })],
  ["sub empty", "claims", ({ withClaims }) => withClaims({ sub: "" })],
  ["sub as a number", "claims", ({ withClaims }) => withClaims({ sub: 1 })],
  ["sub of a key that never was", "API key", ({ withClaims }) => withClaims({ sub: "never" })],
  ["sub of an object's insides", "API key", ({ withClaims }) => withClaims({ sub: "__proto__" })],
  ["sub of a revoked key", "API key", ({ withClaims }) => withClaims({ sub: "revoked" })],
  ["sub of a worker's key", "API key", ({ withClaims }) => withClaims({ sub: "worker" })],
  ["no jti", "claims", ({ withClaims }) => withClaims({ jti: undefined })],
  ["no exp", "claims", ({ withClaims }) => withClaims({ exp: undefined })],
  ["exp null", "claims", ({ withClaims }) => withClaims({ exp: null })],
  ["exp as text", "claims", ({ withClaims, claims }) => withClaims({ exp: String(claims.exp) })],
  [
    "exp with a fraction",
    "claims",
    ({ withClaims, claims }) => withClaims({ exp: Number(claims.exp) - 0.5 }),
  ],
  ["exp negative", "claims", ({ withClaims }) => withClaims({ exp: -1 })],
  ["exp true", "claims", ({ withClaims }) => withClaims({ exp: true })],
  [
    "exp beyond all numbers",
    "claims",
    ({ header, claims: { exp: _, ...rest }, key }) => forge(header, plus(rest, '"exp":1e400'), key),
  ],
  [
    "exp NaN",
    "not a JSON object",
    ({ header, claims: { exp: _, ...rest }, key }) => forge(header, plus(rest, '"exp":NaN'), key),
  ],
  [
    "exp in milliseconds",
    "lives too long",
    ({ withClaims, claims }) => withClaims({ exp: Number(claims.exp) * 1000 }),
  ],
  [
    "exp passed",
    "expired",
    ({ withClaims, nowSeconds }) =>
      withClaims({ iat: nowSeconds - 60, nbf: nowSeconds - 60, exp: nowSeconds - 5 }),
  ],
  ["exp before iat", "expired", ({ withClaims, nowSeconds }) => withClaims({ exp: nowSeconds - 1 })],
  ["exp at iat", "expired", ({ withClaims, nowSeconds }) => withClaims({ exp: nowSeconds })],
  [
    "a life of a second over 15 minutes",
    "lives too long",
    ({ withClaims, nowSeconds }) => withClaims({ exp: nowSeconds + 901 }),
  ],
  [
    "a long life, most of it behind",
    "lives too long",
    ({ withClaims, nowSeconds }) => withClaims({ iat: nowSeconds - 86_400, exp: nowSeconds + 60 }),
  ],
  ["no iat", "claims", ({ withClaims }) => withClaims({ iat: undefined })],
  ["iat as text", "claims", ({ withClaims, claims }) => withClaims({ iat: String(claims.iat) })],
  [
    "iat in the future",
    "from the future",
    ({ withClaims, nowSeconds }) => withClaims({ iat: nowSeconds + 6 }),
  ],
  ["no nbf", "claims", ({ withClaims }) => withClaims({ nbf: undefined })],
  ["nbf as text", "claims", ({ withClaims, claims }) => withClaims({ nbf: String(claims.nbf) })],
  [
    "nbf in the future",
    "from the future",
    ({ withClaims, nowSeconds }) => withClaims({ nbf: nowSeconds + 6 }),
  ],
  ["no scope", "claims", ({ withClaims }) => withClaims({ scope: undefined })],
  ["scope empty", "claims", ({ withClaims }) => withClaims({ scope: "" })],
  ["scope as a number", "claims", ({ withClaims }) => withClaims({ scope: 7 })],
  ["scope as a list", "claims", ({ withClaims }) => withClaims({ scope: ["read"] })],
  ["scope as an object", "claims", ({ withClaims }) => withClaims({ scope: { read: true } })],
  ["a scope that does not exist", "claims", ({ withClaims }) => withClaims({ scope: "read root" })],
  ["a scope in capitals", "claims", ({ withClaims }) => withClaims({ scope: "READ" })],
  ["a tenant of its own choice", "claims", ({ withClaims }) => withClaims({ tenant: "acme" })],
  [
    "a subject that is given twice",
    "duplicate member",
    ({ header, claims, key }) => forge(header, plus(claims, '"sub":"key1"'), key),
  ],
  [
    "a subject that is given twice, once escaped",
    "duplicate member",
    ({ header, claims, key }) => forge(header, plus(claims, '"s\\u0075b":"key1"'), key),
  ],
  [
    "a member that is given twice, deep inside",
    "duplicate member",
    ({ header, claims, key }) => forge(header, plus(claims, '"x":[{"y":{"a":1,"a":1}}]'), key),
  ],
  [
    "a prototype",
    "claims",
    ({ header, claims, key }) => forge(header, plus(claims, '"__proto__":{"sub":"key1"}'), key),
  ],
];
