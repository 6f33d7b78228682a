/** Tokens of an OpenID Connect issuer that speaks HTTPS: whom they make of their bearer, and what the issuer's troubles do. */

import assert from "node:assert/strict";
import { constants, createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, afterEach, before, type TestContext, test } from "node:test";
import { createLogger } from "@legacygpu/shared/log";
import { ExternalIssuers, type IssuerOptions } from "../../gateway/auth/tokens/external-issuers.ts";
import { FakeApi } from "../support/fake-api.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { until } from "../support/until.ts";
import { encode, forge, forgeHmac, startTokensRig, type TokensRig } from "./tokens-rig.ts";

type Json = Record<string, unknown>;

const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const ed = generateKeyPairSync("ed25519");
const other = generateKeyPairSync("ec", { namedCurve: "P-256" });

const jwk = (key: KeyObject, kid: string, alg: string): Json => ({
  ...key.export({ format: "jwk" }),
  kid,
  alg,
  use: "sig",
});
const KEYS = [
  jwk(rsa.publicKey, "rsa", "RS256"),
  jwk(ec.publicKey, "ec", "ES256"),
  jwk(ed.publicKey, "ed", "EdDSA"),
];
const DISCOVERY = "GET /.well-known/openid-configuration";
const JWKS = "GET /keys";
const AUDIENCE = "https://gateway.example";

let issuer: FakeApi;

before(async () => {
  issuer = await FakeApi.start();
});
afterEach(() => issuer.reset());
after(() => issuer.close());

function publish(keys: readonly Json[] = KEYS): void {
  issuer.on(DISCOVERY, { json: { issuer: issuer.url, jwks_uri: `${issuer.url}/keys`, other: true } });
  issuer.on(JWKS, { json: { keys } });
}

const requests = (): string[] => issuer.requests.map(({ path }) => path);

function options(more: Partial<IssuerOptions> = {}): IssuerOptions {
  return {
    issuer: issuer.url,
    audience: AUDIENCE,
    caPem: issuer.caPem,
    scopes: { claim: "roles", map: { viewer: ["read"], maker: ["submit", "models"] } },
    ...more,
  };
}

function start(t: TestContext, more: Partial<IssuerOptions> = {}): Promise<TokensRig> {
  return startTokensRig(t, { issuers: [options(more)] });
}

function claimsAt(rig: TokensRig, more: Json = {}): Json {
  const nowSeconds = rig.clock.now() / 1000;
  return {
    iss: issuer.url,
    aud: AUDIENCE,
    sub: "user|1",
    iat: nowSeconds,
    exp: nowSeconds + 3600,
    roles: ["viewer"],
    ...more,
  };
}

function tokenOf(rig: TokensRig, more: Json = {}, header: Json = {}): string {
  return forge(
    { alg: "ES256", kid: "ec", typ: "JWT", ...header },
    claimsAt(rig, more),
    ec.privateKey,
    "sha256",
  );
}

function forgePs256(header: Json, claims: Json): string {
  const signed = `${encode(header)}.${encode(claims)}`;
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  const signature = sign("sha256", Buffer.from(signed), { key: rsa.privateKey, padding, saltLength: 32 });
  return `${signed}.${signature.toString("base64url")}`;
}

const codeOf = async (rig: TokensRig, token: string): Promise<unknown> =>
  JSON.parse((await rig.send("/whoami", { bearer: token })).text).code;

test("a token of a trusted issuer makes its bearer an external principal with a tenant of its own", async (t) => {
  publish();
  const rig = await start(t);
  const keyId = `ext:${createHash("sha256").update(`${issuer.url}\nuser|1`).digest("hex").slice(0, 16)}`;
  assert.deepEqual(await rig.whoIs(tokenOf(rig, { roles: ["viewer", "maker", "unheard"] })), {
    kind: "external",
    keyId,
    tenant: keyId,
    name: "user|1",
    scopes: ["read", "submit", "models"],
    expiresAtMs: rig.clock.now() + 3_600_000,
  });
});

test("RS256, PS256, ES256 and EdDSA are believed, each with a key of its own", async (t) => {
  publish([...KEYS.slice(1), { ...KEYS[0], alg: undefined }]);
  const rig = await start(t);
  const claims = claimsAt(rig);
  const tokens = [
    forge({ alg: "RS256", kid: "rsa" }, claims, rsa.privateKey, "sha256"),
    forgePs256({ alg: "PS256", kid: "rsa" }, claims),
    forge({ alg: "ES256", kid: "ec", typ: "at+jwt" }, claims, ec.privateKey, "sha256"),
    forge({ alg: "EdDSA", kid: "ed", typ: "application/at+jwt" }, claims, ed.privateKey),
  ];
  for (const token of tokens) assert.equal((await rig.whoIs(token)).kind, "external");
  assert.deepEqual(requests(), ["/.well-known/openid-configuration", "/keys"]);
});

test("scopes are found as text, as a list, under a dotted path and under a name with dots", async (t) => {
  publish();
  const map = { viewer: ["read"] } as const;
  const cases: readonly (readonly [claim: string, claims: Json])[] = [
    ["scope", { scope: "openid viewer" }],
    ["groups", { groups: [1, null, "viewer"] }],
    ["realm_access.roles", { realm_access: { roles: ["viewer"] } }],
    ["https://example.org/roles", { "https://example.org/roles": ["viewer"] }],
  ];
  for (const [claim, claims] of cases) {
    const rig = await start(t, { scopes: { claim, map } });
    assert.deepEqual((await rig.whoIs(tokenOf(rig, claims))).scopes, ["read"], claim);
  }
});

test("what the map does not name permits nothing, least of all names from inside of objects", async (t) => {
  publish();
  const rig = await start(t);
  for (const roles of [undefined, [], "admin", ["constructor", "__proto__"], { viewer: true }, 7]) {
    assert.equal(await codeOf(rig, tokenOf(rig, { roles })), "auth_forbidden", JSON.stringify(roles));
  }
});

test("a tenant from a claim is shared inside its issuer, and can be no tenant of anybody else", async (t) => {
  publish();
  const rig = await start(t, { tenantClaim: "org" });
  const one = await rig.whoIs(tokenOf(rig, { org: "acme", sub: "a" }));
  const two = await rig.whoIs(tokenOf(rig, { org: "acme", sub: "b" }));
  assert.equal(one.tenant, two.tenant);
  assert.match(String(one.tenant), /^ext:[0-9a-f]{8}:acme$/);
  assert.notEqual(one.keyId, two.keyId);
  for (const org of [undefined, "", "a:b", "a/b", 1, ["acme"], "x".repeat(65)]) {
    assert.equal(await rig.refusalOf(tokenOf(rig, { org })), "claims", JSON.stringify(org));
  }
});

test("a token as large as issuers make them when someone is in many groups comes through", async (t) => {
  publish();
  const rig = await start(t);
  const token = tokenOf(rig, { groups: Array.from({ length: 200 }, (_, n) => `group-${n}`) });
  assert.ok(token.length > 3000 && token.length < 3600, String(token.length));
  assert.equal((await rig.whoIs(token)).kind, "external");
});

test("a token for an external caller is no way to a token of the gateway", async (t) => {
  publish();
  const rig = await start(t);
  assert.equal((await rig.send("/auth/token", { method: "POST", bearer: tokenOf(rig) })).status, 403);
});

const FLAWS: readonly (readonly [what: string, reason: string, make: (rig: TokensRig) => string])[] = [
  ["an issuer nobody configured", "issuer", (rig) => tokenOf(rig, { iss: "https://evil.example" })],
  ["an issuer with a slash more", "issuer", (rig) => tokenOf(rig, { iss: `${issuer.url}/` })],
  ["an issuer as a list", "issuer", (rig) => tokenOf(rig, { iss: [issuer.url] })],
  ["another audience", "audience", (rig) => tokenOf(rig, { aud: "https://other.example" })],
  ["many audiences without us", "audience", (rig) => tokenOf(rig, { aud: ["a", "b"] })],
  ["no audience", "claims", (rig) => tokenOf(rig, { aud: undefined })],
  ["no subject", "claims", (rig) => tokenOf(rig, { sub: undefined })],
  ["no end", "claims", (rig) => tokenOf(rig, { exp: undefined })],
  ["no beginning", "claims", (rig) => tokenOf(rig, { iat: undefined })],
  ["an end that has passed", "expired", (rig) => tokenOf(rig, { iat: 1, exp: 2 })],
  ["an end in two days", "lives too long", (rig) => tokenOf(rig, { exp: rig.clock.now() / 1000 + 172_800 })],
  ["a beginning to come", "from the future", (rig) => tokenOf(rig, { nbf: rig.clock.now() / 1000 + 60 })],
  ["a token to log out", "header", (rig) => tokenOf(rig, {}, { typ: "logout+jwt" })],
  ["a proof of possession", "header", (rig) => tokenOf(rig, {}, { typ: "dpop+jwt" })],
  ["the address of a key", "header", (rig) => tokenOf(rig, {}, { jku: "https://evil.example" })],
  ["a certificate", "header", (rig) => tokenOf(rig, {}, { x5c: ["MIIB"] })],
  ["the address of a certificate", "header", (rig) => tokenOf(rig, {}, { x5u: "https://evil.example" })],
  ["a critical extension", "header", (rig) => tokenOf(rig, {}, { crit: ["x"] })],
  ["an unencoded payload", "header", (rig) => tokenOf(rig, {}, { b64: false })],
  [
    "its own key",
    "header",
    (rig) =>
      forge(
        { alg: "ES256", jwk: other.publicKey.export({ format: "jwk" }) },
        claimsAt(rig),
        other.privateKey,
        "sha256",
      ),
  ],
  ["no algorithm", "header", (rig) => tokenOf(rig, {}, { alg: undefined })],
  ["the algorithm none", "header", (rig) => `${encode({ alg: "none" })}.${encode(claimsAt(rig))}.AAAA`],
  [
    "HS256 with the public key",
    "header",
    (rig) =>
      forgeHmac(
        { alg: "HS256", kid: "rsa" },
        claimsAt(rig),
        rsa.publicKey.export({ type: "spki", format: "pem" }).toString(),
      ),
  ],
  [
    "an algorithm that was not allowed",
    "header",
    (rig) => forge({ alg: "RS512", kid: "rsa" }, claimsAt(rig), rsa.privateKey, "sha512"),
  ],
  [
    "a subject that is given twice",
    "duplicate member",
    (rig) => {
      const claims = `${JSON.stringify(claimsAt(rig)).slice(0, -1)},"sub":"admin"}`;
      return forge({ alg: "ES256", kid: "ec" }, claims, ec.privateKey, "sha256");
    },
  ],
];

test("a token with a flaw is refused without a request to anybody", async (t) => {
  publish();
  const rig = await start(t);
  for (const [what, reason, make] of FLAWS) {
    assert.equal(await rig.refusalOf(make(rig)), reason, what);
    assert.equal(await codeOf(rig, make(rig)), "auth_invalid", what);
  }
  assert.deepEqual(requests(), []);
});

test("a signature by the wrong key, or of another kind than the key, is refused", async (t) => {
  publish();
  const rig = await start(t);
  const claims = claimsAt(rig);
  const wrong = forge({ alg: "ES256", kid: "ec" }, claims, other.privateKey, "sha256");
  assert.equal(await rig.refusalOf(wrong), "signature");
  const confused = forge({ alg: "RS256", kid: "ec" }, claims, rsa.privateKey, "sha256");
  assert.equal(await rig.refusalOf(confused), "key id");
  const asOurs = forge(
    { alg: "EdDSA", kid: "ed", typ: "at+jwt" },
    { ...claims, iss: rig.tokens.issuer },
    ed.privateKey,
  );
  assert.equal(await rig.refusalOf(asOurs), "key id");
});

test("a key that signs nothing but HS256 cannot come in with the issuer's set", async (t) => {
  const secret = Buffer.alloc(32, 7);
  publish([{ kty: "oct", k: secret.toString("base64url"), kid: "hs" }]);
  const rig = await start(t);
  assert.equal(await rig.refusalOf(forgeHmac({ alg: "HS256", kid: "hs" }, claimsAt(rig), secret)), "header");
  assert.equal(await rig.refusalOf(tokenOf(rig, {}, { kid: "hs" })), "key id");
});

test("keys are read once for many tokens, and again after ten minutes", async (t) => {
  publish();
  const rig = await start(t, { jwksUri: `${issuer.url}/keys` });
  await Promise.all(Array.from({ length: 20 }, (_, n) => rig.whoIs(tokenOf(rig, { sub: `user ${n}` }))));
  assert.deepEqual(requests(), ["/keys"]);
  rig.clock.advance(600_000 - 1);
  await rig.whoIs(tokenOf(rig));
  assert.equal(requests().length, 1);
  rig.clock.advance(1);
  await rig.whoIs(tokenOf(rig));
  assert.equal(requests().length, 2);
});

test("a key that is not there has the set read again, at most every half minute", async (t) => {
  publish();
  const rig = await start(t, { jwksUri: `${issuer.url}/keys` });
  await rig.whoIs(tokenOf(rig));
  publish([...KEYS, jwk(other.publicKey, "new", "ES256")]);
  const rotated = (): string =>
    forge({ alg: "ES256", kid: "new" }, claimsAt(rig), other.privateKey, "sha256");
  for (let round = 0; round < 5; round += 1) assert.equal(await rig.refusalOf(rotated()), "key id");
  assert.equal(requests().length, 1);
  rig.clock.advance(30_000);
  assert.equal((await rig.whoIs(rotated())).kind, "external");
  assert.equal(requests().length, 2);
  for (let round = 0; round < 5; round += 1) {
    assert.equal(await rig.refusalOf(tokenOf(rig, {}, { kid: `made up ${round}` })), "key id");
  }
  assert.equal(requests().length, 2);
});

const TROUBLES: readonly (readonly [what: string, cause: () => void])[] = [
  ["the connection is cut", () => issuer.on(JWKS, "drop")],
  ["it fails", () => issuer.on(JWKS, { status: 500 })],
  [
    "it sends elsewhere",
    () => issuer.on(JWKS, { status: 302, headers: { location: `${issuer.url}/keys2` } }),
  ],
  ["it answers with a page", () => issuer.on(JWKS, { text: "<html>" })],
  ["it answers with something else", () => issuer.on(JWKS, { json: { keys: "none" } })],
  ["it answers without end", () => issuer.on(JWKS, { text: " ".repeat(300_000) })],
  ["its discovery fails", () => issuer.on(DISCOVERY, { status: 503 })],
  [
    "its discovery speaks for another",
    () =>
      issuer.on(DISCOVERY, {
        json: { issuer: "https://evil.example", jwks_uri: `${issuer.url}/keys` },
      }),
  ],
  [
    "its discovery names keys in the clear",
    () => issuer.on(DISCOVERY, { json: { issuer: issuer.url, jwks_uri: "http://keys.example/keys" } }),
  ],
];

test("an issuer in trouble means try again, never that the token is wrong", async (t) => {
  const rig = await start(t);
  for (const [what, cause] of TROUBLES) {
    issuer.reset();
    publish();
    cause();
    const reply = await rig.send("/whoami", { bearer: tokenOf(rig) });
    assert.equal(reply.status, 504, what);
    const { code, retryable } = JSON.parse(reply.text);
    assert.deepEqual([code, retryable], ["timed_out", true], what);
    assert.ok(!requests().includes("/keys2"));

    const before = requests().length;
    assert.equal(await codeOf(rig, tokenOf(rig)), "timed_out", what);
    assert.equal(requests().length, before, `${what}: it was asked again at once`);
    publish();
    rig.clock.advance(5_000);
    assert.equal((await rig.whoIs(tokenOf(rig))).kind, "external", what);
    rig.clock.advance(600_000);
  }
});

test("an issuer that says nothing is given five seconds", async (t) => {
  publish();
  issuer.on(DISCOVERY, "hang");
  const rig = await start(t);
  const answer = codeOf(rig, tokenOf(rig));
  await until("a request to the issuer", () => issuer.requests.length > 0);
  rig.clock.advance(5_000);
  assert.equal(await answer, "timed_out");
});

test("an issuer whose certificate is not of the CA that was named is not believed", async (t) => {
  publish();
  const rig = await start(t, { caPem: undefined });
  assert.equal(await codeOf(rig, tokenOf(rig)), "timed_out");
  assert.deepEqual(requests(), []);
});

test("within one machine an issuer may speak plain HTTP", async (t) => {
  const server = createServer((_, response) => response.end(JSON.stringify({ keys: KEYS })));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const rig = await start(t, { issuer: url, jwksUri: `${url}/keys`, caPem: undefined });
  assert.equal((await rig.whoIs(tokenOf(rig, { iss: url }))).kind, "external");
});

const MISTAKES: readonly (readonly [what: string, more: Partial<IssuerOptions>])[] = [
  ["an address in the clear", { issuer: "http://issuer.example" }],
  ["no address", { issuer: "issuer" }],
  ["keys in the clear", { jwksUri: "http://issuer.example/keys" }],
  ["a password in the address", { jwksUri: "https://user:pass@issuer.example/keys" }],
  ["a symmetric algorithm", { algorithms: ["ES256", "HS256"] }],
  ["the algorithm none", { algorithms: ["none"] }],
  ["no algorithm", { algorithms: [] }],
  ["no audience", { audience: "" }],
  ["workers", { scopes: { claim: "roles", map: { box: ["worker"] } } }],
];

test("mistakes in the configuration of an issuer stop the start", () => {
  const parts = { clock: new ManualClock(), log: createLogger("test", "silent") };
  for (const [what, more] of MISTAKES) {
    assert.throws(
      () => new ExternalIssuers({ ...parts, issuers: [options(more)] }),
      { code: "config_invalid" },
      what,
    );
  }
  assert.throws(() => new ExternalIssuers({ ...parts, issuers: [options(), options()] }), {
    code: "config_invalid",
  });
});
