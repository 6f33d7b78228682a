/**
 * Tokens that want to be believed and must not be.
 *
 * Each is right in everything but what its row says: most are signed with the gateway's own key, so that nothing but the flaw can be
 * what refuses them. All are answered alike; the operator's log says why.
 */

import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { createLogger } from "@legacygpu/shared/log";
import fc from "fast-check";
import type { RefusalReason } from "../../gateway/auth/tokens/refusal.ts";
import { Tokens } from "../../gateway/auth/tokens/tokens.ts";
import { principal } from "../support/principals.ts";
import {
  decodePart,
  encode,
  forge,
  forgeHmac,
  HEAD,
  readSigningKey,
  startTokensRig,
  type TokensRig,
} from "./tokens-rig.ts";

type Json = Record<string, unknown>;

/** What an attacker has to work with, and more: even the signing key. */
interface Loot {
  /** A token that is good. */
  readonly token: string;
  readonly header: Json;
  readonly claims: Json;
  readonly nowSeconds: number;
  readonly key: KeyObject;
  readonly publicJwk: Json;
  readonly rsa: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  readonly ec: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  readonly ed: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  /** The good token with other claims, signed with the gateway's own key. `undefined` takes a claim away. */
  withClaims(claims: Json): string;
  withHeader(header: Json): string;
}

type Row = readonly [what: string, reason: RefusalReason, make: (loot: Loot) => string];

const swapped = (token: string, index: number, part: string): string =>
  token
    .split(".")
    .map((old, at) => (at === index ? part : old))
    .join(".");
const partOf = (token: string, index: number): string => token.split(".")[index] ?? "";
/** JSON text with one more member, which JSON.stringify would not write. */
const plus = (value: Json, member: string): string => `${JSON.stringify(value).slice(0, -1)},${member}}`;
const flipBit = (part: string, at: number): string => {
  const bytes = Buffer.from(part, "base64url");
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes.toString("base64url");
};
const pem = (key: KeyObject): string => key.export({ type: "spki", format: "pem" }).toString();

const ALGORITHMS: readonly Row[] = [
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

const HEADERS: readonly Row[] = [
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

const CLAIMS: readonly Row[] = [
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

const SIGNATURES: readonly Row[] = [
  [
    "the scope raised after signing",
    "signature",
    ({ token, claims }) => swapped(token, 1, encode({ ...claims, scope: "admin" })),
  ],
  [
    "the end put off after signing",
    "signature",
    ({ token, claims }) => swapped(token, 1, encode({ ...claims, exp: Number(claims.exp) - 1 })),
  ],
  [
    "one bit of the signature turned",
    "signature",
    ({ token }) => swapped(token, 2, flipBit(partOf(token, 2), 10)),
  ],
  [
    "the last bit of the signature turned",
    "signature",
    ({ token }) => swapped(token, 2, flipBit(partOf(token, 2), 63)),
  ],
  ["a signature of zeros", "signature", ({ token }) => swapped(token, 2, encode(Buffer.alloc(64)))],
  ["half a signature", "signature", ({ token }) => swapped(token, 2, partOf(token, 2).slice(0, 40))],
  ["a signature of one byte", "signature", ({ token }) => swapped(token, 2, "AA")],
  [
    "a signature that is too long",
    "signature",
    ({ token }) =>
      swapped(token, 2, encode(Buffer.concat([Buffer.from(partOf(token, 2), "base64url"), Buffer.alloc(1)]))),
  ],
  [
    "the signature of another token",
    "signature",
    ({ token, withClaims }) => swapped(token, 2, partOf(withClaims({ jti: "other" }), 2)),
  ],
  [
    // S and S + L are the same scalar: RFC 8032 has verifiers refuse the larger.
    "the other form of the same signature",
    "signature",
    ({ token }) => swapped(token, 2, encode(secondForm(Buffer.from(partOf(token, 2), "base64url")))),
  ],
];

const FORMS: readonly Row[] = [
  ["nothing", "not three parts", () => ""],
  ["two dots", "not three parts", () => ".."],
  ["one part", "not three parts", ({ token }) => partOf(token, 0)],
  ["two parts", "not three parts", ({ token }) => token.split(".").slice(0, 2).join(".")],
  ["an empty header", "not three parts", ({ token }) => swapped(token, 0, "")],
  ["an empty payload", "not three parts", ({ token }) => swapped(token, 1, "")],
  ["four parts", "not three parts", ({ token }) => `${token}.AAAA`],
  ["a dot at the end", "not three parts", ({ token }) => `${token}.`],
  ["a dot at the beginning", "not three parts", ({ token }) => `.${token}`],
  [
    "the five parts of an encrypted token",
    "not three parts",
    ({ token }) => `${encode({ alg: "dir", enc: "A256GCM" })}..${token.split(".").slice(1).join(".")}.AAAA`,
  ],
  [
    "JSON serialisation instead of compact",
    "encoding",
    ({ token }) =>
      JSON.stringify({
        protected: `.${partOf(token, 0)}`,
        payload: `.${partOf(token, 1)}`,
        signature: partOf(token, 2),
      }),
  ],
  ["padding", "encoding", ({ token }) => `${token}==`],
  ["padding in the header", "encoding", ({ token }) => swapped(token, 0, `${partOf(token, 0)}=`)],
  ["the alphabet of plain base64", "encoding", ({ token }) => swapped(token, 2, `${"+/".repeat(43)}`)],
  ["spare bits that are set", "encoding", ({ token }) => swapped(token, 2, withSpareBits(partOf(token, 2)))],
  [
    "a length that base64 cannot have",
    "encoding",
    ({ token }) => swapped(token, 2, `${partOf(token, 2)}AAA`),
  ],
  ["a space at the end", "encoding", ({ token }) => `${token} `],
  ["a line break in the payload", "encoding", ({ token }) => swapped(token, 1, `${partOf(token, 1)}\n`)],
  ["a letter of another alphabet", "encoding", ({ token }) => swapped(token, 2, `${partOf(token, 2)}é`)],
  ["a NUL", "encoding", ({ token }) => `${token}\u0000`],
  ["a header that is no JSON", "not a JSON object", ({ token }) => swapped(token, 0, encode("hello"))],
  ["half a header", "not a JSON object", ({ token }) => swapped(token, 0, partOf(token, 0).slice(0, 16))],
  ["a list as the header", "not a JSON object", ({ token, header }) => swapped(token, 0, encode([header]))],
  ["a list as the payload", "not a JSON object", ({ header, claims, key }) => forge(header, [claims], key)],
  ["text as the payload", "not a JSON object", ({ header, key }) => forge(header, '"key1"', key)],
  ["a number as the payload", "not a JSON object", ({ header, key }) => forge(header, "1", key)],
  ["null as the payload", "not a JSON object", ({ header, key }) => forge(header, "null", key)],
  ["an empty object as the payload", "issuer", ({ header, key }) => forge(header, {}, key)],
  ["a token as the payload", "not a JSON object", ({ header, key, token }) => forge(header, token, key)],
  [
    "JSON inside of text",
    "not a JSON object",
    ({ header, claims, key }) => forge(header, JSON.stringify(JSON.stringify(claims)), key),
  ],
  [
    "a byte order mark",
    "not a JSON object",
    ({ header, claims, key }) => forge(header, `\ufeff${JSON.stringify(claims)}`, key),
  ],
  [
    "a comment in the JSON",
    "not a JSON object",
    ({ header, claims, key }) => forge(header, `${JSON.stringify(claims)}//`, key),
  ],
  [
    "bytes that are no UTF-8",
    "encoding",
    ({ header, claims, key }) =>
      forge(header, Buffer.from(JSON.stringify({ ...claims, jti: "\u00ff" }), "latin1"), key),
  ],
  [
    "a thousand lists, one in the other",
    "claims",
    ({ header, claims, key }) => forge(header, plus(claims, `"x":${"[".repeat(500)}${"]".repeat(500)}`), key),
  ],
];

/** Of the six bits of the last character two belong to the 64 bytes, and four to nothing. */
function withSpareBits(signature: string): string {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  return signature.slice(0, -1) + letters[letters.indexOf(signature.slice(-1)) + 1];
}

function secondForm(signature: Buffer): Buffer {
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const scalar = Buffer.from(signature.subarray(32)).reverse();
  const larger = (BigInt(`0x${scalar.toString("hex")}`) + order).toString(16).padStart(64, "0");
  return Buffer.concat([signature.subarray(0, 32), Buffer.from(larger, "hex").reverse()]);
}

async function plunder(t: TestContext): Promise<{ readonly rig: TokensRig; readonly loot: Loot }> {
  const rig = await startTokensRig(t);
  rig.keys.set("key-text", { principal: principal("key1", "submit", "read") });
  rig.keys.set("revoked-text", { principal: principal("revoked", "read"), isEnded: true });
  rig.keys.set("worker-text", { principal: { ...principal("worker", "worker", "read"), kind: "worker" } });
  const token = await rig.exchange("key-text");
  const { privateKey: key } = await readSigningKey(rig.file);
  const header = decodePart(token, 0);
  const claims = decodePart(token, 1);
  const loot: Loot = {
    token,
    header,
    claims,
    nowSeconds: rig.clock.now() / 1000,
    key,
    publicJwk: { ...rig.tokens.jwks().keys[0] },
    rsa: generateKeyPairSync("rsa", { modulusLength: 2048 }),
    ec: generateKeyPairSync("ec", { namedCurve: "P-256" }),
    ed: generateKeyPairSync("ed25519"),
    withClaims: (more) => forge(header, { ...claims, ...more }, key),
    withHeader: (more) => forge({ ...header, ...more }, claims, key),
  };
  return { rig, loot };
}

/** Without what differs from request to request. */
function comparable(text: string): Json {
  const { request_id: _, ...rest } = JSON.parse(text);
  return rest;
}

test("the forger can forge: what it signs with the gateway's key and no flaw is believed", async (t) => {
  const { rig, loot } = await plunder(t);
  assert.equal((await rig.whoIs(loot.withClaims({}))).keyId, "key1");
  assert.equal((await rig.whoIs(loot.withHeader({}))).keyId, "key1");
  const lastSecond = { iat: loot.nowSeconds - 60, exp: loot.nowSeconds - 4 };
  assert.equal((await rig.whoIs(loot.withClaims(lastSecond))).keyId, "key1");
});

const TABLES = {
  "a dishonest algorithm": ALGORITHMS,
  "a dishonest header": HEADERS,
  "dishonest claims": CLAIMS,
  "a signature of something else": SIGNATURES,
  "a form that is not one": FORMS,
};

for (const [name, rows] of Object.entries(TABLES)) {
  test(`a token with ${name} is refused, for that and without a word about it`, async (t) => {
    const { rig, loot } = await plunder(t);
    const refusal = comparable((await rig.send("/whoami", { bearer: "wrong-key" })).text);
    assert.equal(refusal.code, "auth_invalid");
    for (const [what, reason, make] of rows) {
      const token = make(loot);
      assert.equal(await rig.refusalOf(token), reason, what);
      // What no header can carry, or is no credential to HTTP, has been shown to the tokens themselves.
      if (!/^[!-~]+$/.test(token)) continue;
      const reply = await rig.send("/whoami", { bearer: token });
      assert.equal(reply.status, 401, what);
      assert.deepEqual(comparable(reply.text), refusal, what);
    }
  });
}

test("no two rows say the same, and there are enough of them", () => {
  const names = Object.values(TABLES).flatMap((rows) => rows.map(([what]) => what));
  assert.equal(new Set(names).size, names.length);
  assert.ok(names.length >= 100, String(names.length));
});

test("a token over 4 KiB is refused before anything of it is read", async (t) => {
  const { rig, loot } = await plunder(t);
  assert.equal(await rig.refusalOf(loot.withClaims({ jti: "j".repeat(4000) })), "too large");
  assert.equal(await rig.refusalOf(`${loot.token}${"A".repeat(10_000_000)}`), "too large");
});

test("a token of another gateway is refused, even with the same key id", async (t) => {
  const { rig, loot } = await plunder(t);
  const dir = await mkdtemp(join(tmpdir(), "legacygpu-tokens-"));
  const log = createLogger("test", "silent");
  const keys = { principalOf: () => undefined, mayUse: () => true };
  const file = join(dir, "signing-keys.json");
  const other = await Tokens.open({ file, keys, issuers: [], clock: rig.clock, log });
  t.after(async () => {
    await other.close();
    await rm(dir, { recursive: true });
  });
  const { text } = await other.issue(principal("key1", "read"), { ttlSeconds: 60 });
  assert.equal(await rig.refusalOf(text), "issuer");
  assert.equal((await rig.send("/whoami", { bearer: text })).status, 401);
  const stolen = forge(loot.header, decodePart(text, 1), (await readSigningKey(file)).privateKey);
  assert.equal(await rig.refusalOf(stolen), "issuer");
  const renamed = forge(loot.header, loot.claims, (await readSigningKey(file)).privateKey);
  assert.equal(await rig.refusalOf(renamed), "signature");
});

test("a token signed with a key that is gone is refused", async (t) => {
  const { rig, loot } = await plunder(t);
  await rig.tokens.rotateSigningKeys();
  rig.clock.advance(36 * 60_000);
  const nowSeconds = rig.clock.now() / 1000;
  const late = loot.withClaims({ iat: nowSeconds, nbf: nowSeconds, exp: nowSeconds + 60 });
  assert.equal(await rig.refusalOf(late), "key id");
});

test("whatever character of a token is changed, it is refused", async (t) => {
  const { rig, loot } = await plunder(t);
  const { token } = loot;
  const change = fc.record({
    at: fc.nat(token.length - 1),
    to: fc.string({ minLength: 0, maxLength: 2, unit: "binary" }),
  });
  await fc.assert(
    fc.asyncProperty(change, async ({ at, to }) => {
      const changed = token.slice(0, at) + to + token.slice(at + 1);
      fc.pre(changed !== token);
      await assert.rejects(rig.tokens.authenticate(changed, HEAD), { code: "auth_invalid" });
    }),
    { numRuns: 300 },
  );
});

test("whatever is signed, the answer is a principal or auth_invalid and nothing else", async (t) => {
  const { rig, loot } = await plunder(t);
  const value = fc.oneof(fc.jsonValue(), fc.constantFrom(...Object.values(loot.claims)));
  const names = ["iss", "aud", "sub", "jti", "iat", "nbf", "exp", "scope", "cnf"];
  const claims = fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 3 });
  await fc.assert(
    fc.asyncProperty(claims, async (more) => {
      const token = loot.withClaims(more);
      try {
        const { keyId, scopes } = await rig.tokens.authenticate(token, HEAD);
        assert.equal(keyId, "key1");
        assert.ok([...scopes].every((scope) => scope === "submit" || scope === "read"));
      } catch (error) {
        assert.equal((error as { code?: unknown }).code, "auth_invalid", String(error));
      }
    }),
    { numRuns: 200 },
  );
});
