/**
 * Tokens that want to be believed and must not be.
 *
 * Each is right in everything but what its row says: most are signed with the gateway's own key, so that nothing but the flaw can be
 * what refuses them. All are answered alike; the operator's log says why.
 */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createLogger } from "@legacygpu/shared/log";
import fc from "fast-check";
import { Tokens } from "../../gateway/auth/tokens/tokens.ts";
import { principal } from "../support/principals.ts";
import { CLAIMS } from "./tokens-hostile-claims.ts";
import { FORMS, SIGNATURES } from "./tokens-hostile-forms.ts";
import { ALGORITHMS, HEADERS } from "./tokens-hostile-headers.ts";
import { type Json, plunder } from "./tokens-loot.ts";
import { decodePart, forge, HEAD, readSigningKey } from "./tokens-rig.ts";

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
