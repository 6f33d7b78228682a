/** Tokens whose header wants to choose how they are checked, and with what. */

import { createPublicKey, type KeyObject } from "node:crypto";
import { plus, type Row, swapped } from "./tokens-loot.ts";
import { encode, forge, forgeHmac } from "./tokens-rig.ts";

const pem = (key: KeyObject): string => key.export({ type: "spki", format: "pem" }).toString();

export const ALGORITHMS: readonly Row[] = [
  [
    "alg none, without a signature",
    "not three parts",
    ({ claims, header }) => `${encode({ ...header, alg: "none" })}.${encode(claims)}.`,
  ],
  ...["none", "None", "NONE", "nOnE"].map(
    (alg): Row => [
      `alg ${alg}, with a signature`,
      "header",
      ({ token, header }) => swapped(token, 0, encode({ ...header, alg })),
    ],
  ),
  [
    "HS256 with the public key as the secret, in PEM",
    "header",
    ({ header, claims, key }) => forgeHmac({ ...header, alg: "HS256" }, claims, pem(createPublicKey(key))),
  ],
  [
    "HS256 with the public key as the secret, as bytes",
    "header",
    ({ header, claims, publicJwk }) =>
      forgeHmac({ ...header, alg: "HS256" }, claims, Buffer.from(String(publicJwk.x), "base64url")),
  ],
  [
    "HS256 with the published key set as the secret",
    "header",
    ({ header, claims, publicJwk }) =>
      forgeHmac({ ...header, alg: "HS256" }, claims, JSON.stringify({ keys: [publicJwk] })),
  ],
  [
    "EdDSA said, HS256 done",
    "signature",
    ({ header, claims, publicJwk }) =>
      forgeHmac(header, claims, Buffer.from(String(publicJwk.x), "base64url")),
  ],
  [
    "RS256 under our kid",
    "header",
    ({ header, claims, rsa }) => forge({ ...header, alg: "RS256" }, claims, rsa.privateKey, "sha256"),
  ],
  [
    "ES256 under our kid",
    "header",
    ({ header, claims, ec }) => forge({ ...header, alg: "ES256" }, claims, ec.privateKey, "sha256"),
  ],
  [
    "EdDSA said, ES256 done",
    "signature",
    ({ header, claims, ec }) => forge(header, claims, ec.privateKey, "sha256"),
  ],
  ["EdDSA of another key", "signature", ({ header, claims, ed }) => forge(header, claims, ed.privateKey)],
  ...["eddsa", "EDDSA", "EdDSA ", "Ed25519", "Ed448", "", null, ["EdDSA"], undefined].map(
    (alg): Row => [`alg ${JSON.stringify(alg)}`, "header", ({ withHeader }) => withHeader({ alg })],
  ),
];

export const HEADERS: readonly Row[] = [
  ...[
    undefined,
    "JWT",
    "jwt",
    "AT+JWT",
    "application/at+jwt",
    "id+jwt",
    "logout+jwt",
    "at+jwt ",
    null,
    1,
    ["at+jwt"],
  ].map((typ): Row => [`typ ${JSON.stringify(typ)}`, "header", ({ withHeader }) => withHeader({ typ })]),
  ...[undefined, null, 1, ["x"], { toString: "x" }].map(
    (kid): Row => [`kid ${JSON.stringify(kid)}`, "header", ({ withHeader }) => withHeader({ kid })],
  ),
  ...[
    "unknown",
    "",
    "../../../etc/passwd",
    "/dev/null",
    "' OR '1'='1",
    "__proto__",
    "constructor",
    "a\u0000b",
    "0",
    "*",
  ].map((kid): Row => [`kid ${JSON.stringify(kid)}`, "key id", ({ withHeader }) => withHeader({ kid })]),
  ["a kid as long as a book", "header", ({ withHeader }) => withHeader({ kid: "k".repeat(1000) })],
  [
    "jwk: the attacker's key in the header",
    "header",
    ({ header, claims, ed }) =>
      forge({ ...header, jwk: ed.publicKey.export({ format: "jwk" }) }, claims, ed.privateKey),
  ],
  ["jwk: our own key in the header", "header", ({ withHeader, publicJwk }) => withHeader({ jwk: publicJwk })],
  [
    "jku: where to fetch the key",
    "header",
    ({ withHeader }) => withHeader({ jku: "https://evil.example/jwks" }),
  ],
  [
    "x5u: where to fetch the certificate",
    "header",
    ({ withHeader }) => withHeader({ x5u: "https://evil.example" }),
  ],
  ["x5c: a certificate in the header", "header", ({ withHeader }) => withHeader({ x5c: ["MIIB"] })],
  ["x5t: the print of a certificate", "header", ({ withHeader }) => withHeader({ x5t: "AAAA" })],
  ["crit: an extension that we do not know", "header", ({ withHeader }) => withHeader({ crit: ["x"], x: 1 })],
  ["crit: a claim that we do know", "header", ({ withHeader }) => withHeader({ crit: ["exp"], exp: 1 })],
  ["crit: empty", "header", ({ withHeader }) => withHeader({ crit: [] })],
  ["b64: false", "header", ({ withHeader }) => withHeader({ b64: false })],
  ["b64: false, and critical", "header", ({ withHeader }) => withHeader({ b64: false, crit: ["b64"] })],
  ["zip: a compressed payload", "header", ({ withHeader }) => withHeader({ zip: "DEF" })],
  ["cty: a token inside of the token", "header", ({ withHeader }) => withHeader({ cty: "JWT" })],
  ["enc: half an encrypted token", "header", ({ withHeader }) => withHeader({ enc: "A256GCM" })],
  [
    "a key id that is given twice",
    "duplicate member",
    ({ header, claims, key }) => forge(plus(header, '"kid":"other"'), claims, key),
  ],
  [
    "an algorithm that is given twice, once escaped",
    "duplicate member",
    ({ header, claims, key }) => forge(plus(header, '"\\u0061lg":"EdDSA"'), claims, key),
  ],
];
