/** Access tokens over HTTP: who gets one, what it permits, and what ends it. */

import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { type TestContext, test } from "node:test";
import { jwksSchema, tokenSchema } from "@legacygpu/shared/api/tokens";
import { principal } from "../support/principals.ts";
import { decodePart, forge, readSigningKey, startTokensRig, type TokensRig } from "./tokens-rig.ts";

async function rigWithKey(t: TestContext): Promise<TokensRig> {
  const rig = await startTokensRig(t);
  rig.keys.set("key-text", { principal: principal("key1", "submit", "read") });
  return rig;
}

test("an API key is exchanged for a token that stands for the key", async (t) => {
  const rig = await startTokensRig(t);
  rig.keys.set("key-text", {
    principal: {
      ...principal("key1", "submit", "read"),
      tenant: "acme",
      models: new Set(["digits"]),
      sites: new Set(["lab"]),
    },
  });
  const reply = await rig.send("/auth/token", { method: "POST", bearer: "key-text" });
  assert.equal(reply.status, 200);
  assert.equal(reply.headers["cache-control"], "no-store");
  const { access_token, expires_in, scope, token_type } = tokenSchema.parse(JSON.parse(reply.text));
  assert.deepEqual([expires_in, scope, token_type], [900, "submit read", "Bearer"]);

  const { tokenId, ...who } = await rig.whoIs(access_token);
  assert.deepEqual(who, {
    kind: "client",
    keyId: "key1",
    tenant: "acme",
    name: "key1",
    scopes: ["submit", "read"],
    models: ["digits"],
    sites: ["lab"],
    expiresAtMs: rig.clock.now() + 900_000,
  });
  assert.equal(tokenId, decodePart(access_token, 1).jti);
});

test("a token says what RFC 9068 asks for, is signed with a published key, and names no tenant", async (t) => {
  const rig = await rigWithKey(t);
  const token = await rig.exchange("key-text", { scopes: ["read"], ttl: 60 });
  const jwks = await rig.send("/.well-known/jwks.json");
  assert.equal(jwks.status, 200);
  assert.equal(jwks.headers["cache-control"], "public, max-age=300");
  const [key] = jwksSchema.parse(JSON.parse(jwks.text)).keys;
  assert.deepEqual(decodePart(token, 0), { alg: "EdDSA", typ: "at+jwt", kid: key?.kid });
  const { jti, ...claims } = decodePart(token, 1);
  const iat = rig.clock.now() / 1000;
  const { issuer } = rig.tokens;
  assert.match(issuer, /^urn:legacygpu:gateway:[0-9a-f]{32}$/);
  assert.match(String(jti), /^[\w-]{22}$/);
  assert.deepEqual(claims, {
    iss: issuer,
    aud: issuer,
    sub: "key1",
    iat,
    nbf: iat,
    exp: iat + 60,
    scope: "read",
  });
  const [header, payload, signature] = token.split(".");
  const publicKey = createPublicKey({ key: { ...key }, format: "jwk" });
  const signed = Buffer.from(`${header}.${payload}`);
  assert.ok(verify(null, signed, publicKey, Buffer.from(signature ?? "", "base64url")));
});

test("the published keys hold nothing private", async (t) => {
  const rig = await rigWithKey(t);
  const { keys } = JSON.parse((await rig.send("/.well-known/jwks.json")).text);
  assert.deepEqual(Object.keys(keys[0]).sort(), ["alg", "crv", "kid", "kty", "use", "x"]);
});

test("a token has no more scopes than were asked for, and the answer to more names the missing one", async (t) => {
  const rig = await rigWithKey(t);
  const token = await rig.exchange("key-text", { scopes: ["submit"] });
  assert.equal((await rig.send("/whoami", { bearer: token })).status, 403);

  const reply = await rig.send("/auth/token", {
    method: "POST",
    bearer: "key-text",
    body: { scopes: ["read", "models"] },
  });
  assert.equal(reply.status, 403);
  const { code, details } = JSON.parse(reply.text);
  assert.deepEqual(
    [code, details],
    ["auth_forbidden", { requiredScope: "models", scopes: ["submit", "read"] }],
  );
});

test("an administrator's key gives any scope but worker", async (t) => {
  const rig = await startTokensRig(t);
  rig.keys.set("admin", { principal: principal("key1", "admin") });
  const scopes = ["submit", "read", "models"];
  const token = await rig.exchange("admin", { scopes });
  assert.deepEqual((await rig.whoIs(token)).scopes, scopes);
  const all = await rig.exchange("admin");
  assert.deepEqual((await rig.whoIs(all)).scopes, ["admin"]);
  const worker = await rig.send("/auth/token", {
    method: "POST",
    bearer: "admin",
    body: { scopes: ["worker"] },
  });
  assert.equal(worker.status, 403);
});

test("only API keys of clients are exchanged: no worker key, no external caller, no token", async (t) => {
  const rig = await rigWithKey(t);
  rig.keys.set("worker", { principal: { ...principal("key2", "worker"), kind: "worker" } });
  rig.keys.set("external", { principal: { ...principal("ext:1", "read"), kind: "external" } });
  const token = await rig.exchange("key-text");
  for (const bearer of ["worker", "external", token]) {
    const reply = await rig.send("/auth/token", { method: "POST", bearer });
    assert.equal(reply.status, 403, bearer);
    assert.equal(JSON.parse(reply.text).code, "auth_forbidden", bearer);
  }
  assert.equal((await rig.send("/auth/token", { method: "POST" })).status, 401);
  assert.equal((await rig.send("/auth/token", { method: "POST", bearer: "unknown" })).status, 401);
});

test("a life under 30 seconds or over 15 minutes is not given", async (t) => {
  const rig = await rigWithKey(t);
  for (const ttl of [29, 901, 60.5, "60"]) {
    const reply = await rig.send("/auth/token", { method: "POST", bearer: "key-text", body: { ttl } });
    assert.equal(reply.status, 400, String(ttl));
  }
});

test("a token never outlives its key", async (t) => {
  const rig = await startTokensRig(t);
  const expiresAtMs = rig.clock.now() + 100_000;
  rig.keys.set("short", { principal: { ...principal("key1", "read"), expiresAtMs } });
  const reply = await rig.send("/auth/token", { method: "POST", bearer: "short" });
  const { expires_in, access_token } = JSON.parse(reply.text);
  assert.equal(expires_in, 100);
  assert.equal((await rig.whoIs(access_token)).expiresAtMs, expiresAtMs);
});

test("the end of a key is the end of its tokens, at once", async (t) => {
  const rig = await rigWithKey(t);
  const token = await rig.exchange("key-text");
  const key = rig.keys.get("key-text");
  assert.ok(key);
  assert.equal((await rig.send("/whoami", { bearer: token })).status, 200);
  key.isEnded = true;
  assert.equal((await rig.send("/whoami", { bearer: token })).status, 401);
});

test("a token is good only where its key is", async (t) => {
  const rig = await rigWithKey(t);
  const token = await rig.exchange("key-text");
  const key = rig.keys.get("key-text");
  assert.ok(key);
  key.isElsewhere = true;
  assert.equal((await rig.send("/whoami", { bearer: token })).status, 401);
  assert.equal(await rig.refusalOf(token), "address");
});

test("a token is good until its end, and five seconds for clocks that differ", async (t) => {
  const rig = await rigWithKey(t);
  const token = await rig.exchange("key-text", { ttl: 60 });
  rig.clock.advance(64_999);
  assert.equal((await rig.send("/whoami", { bearer: token })).status, 200);
  rig.clock.advance(1);
  assert.equal((await rig.send("/whoami", { bearer: token })).status, 401);
  assert.equal(await rig.refusalOf(token), "expired");
});

test("a token with more scopes than its key permits no more than the key", async (t) => {
  const rig = await rigWithKey(t);
  const honest = await rig.exchange("key-text");
  const { privateKey } = await readSigningKey(rig.file);
  const greedy = forge(decodePart(honest, 0), { ...decodePart(honest, 1), scope: "admin" }, privateKey);
  assert.deepEqual((await rig.whoIs(greedy)).scopes, ["submit", "read"]);
  const reply = await rig.send("/auth/signing-keys/rotate", { method: "POST", bearer: greedy });
  assert.equal(reply.status, 403);
});

test("tokens and rotations are in the audit log, refusals too, and never a token's text", async (t) => {
  const rig = await rigWithKey(t);
  rig.keys.set("admin", { principal: principal("boss", "admin") });
  const token = await rig.exchange("key-text", { scopes: ["read"], ttl: 60 });
  await rig.send("/auth/token", { method: "POST", bearer: "key-text", body: { scopes: ["admin"] } });
  await rig.send("/auth/signing-keys/rotate", { method: "POST", bearer: "admin" });
  const seen = rig.audit.map(({ action, actor, target, outcome = "done", details }) => ({
    action,
    actor,
    target,
    outcome,
    details,
  }));
  const [, newest] = rig.tokens.jwks().keys;
  const { jti } = decodePart(token, 1);
  assert.deepEqual(seen, [
    {
      action: "token.create",
      actor: "key1",
      target: jti,
      outcome: "done",
      details: { scopes: ["read"], ttl: 60 },
    },
    {
      action: "token.create",
      actor: "key1",
      target: undefined,
      outcome: "refused",
      details: { code: "auth_forbidden", scopes: ["admin"], ttl: 900 },
    },
    {
      action: "signing_key.rotate",
      actor: "boss",
      target: newest?.kid,
      outcome: "done",
      details: undefined,
    },
  ]);
  assert.ok(rig.audit.every(({ address, requestId }) => address === "127.0.0.1" && requestId));
  assert.ok(!JSON.stringify([rig.audit, rig.logLines]).includes(token.split(".")[2] ?? ""));
});

test("only an administrator rotates, and tokens of before stay good", async (t) => {
  const rig = await rigWithKey(t);
  rig.keys.set("admin", { principal: principal("boss", "admin") });
  const before = await rig.exchange("key-text");
  const refusal = await rig.send("/auth/signing-keys/rotate", { method: "POST", bearer: "key-text" });
  assert.equal(refusal.status, 403);
  const reply = await rig.send("/auth/signing-keys/rotate", { method: "POST", bearer: "admin" });
  assert.equal(reply.status, 200);
  const { kid, signs_from } = JSON.parse(reply.text);
  assert.equal(Date.parse(signs_from), rig.clock.now() + 600_000);
  assert.notEqual(decodePart(await rig.exchange("key-text"), 0).kid, kid);
  rig.clock.advance(600_000);
  assert.equal(decodePart(await rig.exchange("key-text"), 0).kid, kid);
  assert.equal((await rig.whoIs(before)).keyId, "key1");
});
