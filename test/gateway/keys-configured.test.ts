import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { newCredential } from "../../gateway/auth/credential.ts";
import type { KeyRing } from "../../gateway/auth/key-ring.ts";
import { codeOf, HERE, useKeys } from "./keys-fixture.ts";

const keys = useKeys();
const SECRET = "0123456789abcdef0123456789abcdef";
const ID = `config-${createHash("sha256").update(SECRET).digest("hex").slice(0, 8)}`;

type Configured = Parameters<KeyRing["configure"]>[0][number];

test("a key of the configuration is accepted, and shown without itself", async () => {
  const ring = await keys().open();
  ring.configure([
    { key: SECRET, permissions: ["read", "write", "models"], name: "pipeline", tenant: "physics" },
    { key: newCredential("client").text, permissions: ["admin"] },
    { key: newCredential("worker").text, permissions: ["worker"] },
  ]);
  const expected = {
    kind: "client",
    keyId: ID,
    tenant: "physics",
    name: "pipeline",
    scopes: new Set(["read", "submit", "models"]),
    models: undefined,
    sites: undefined,
    expiresAtMs: undefined,
  };
  assert.deepEqual(ring.authenticate(SECRET, HERE), expected);
  assert.deepEqual(ring.principalOf(ID), expected);
  assert.ok(ring.isValid(SECRET));
  const [pipeline, admin, worker] = ring.list();
  assert.deepEqual(
    [pipeline?.id, pipeline?.source, pipeline?.tenant, pipeline?.last_used_at],
    [ID, "config", "physics", "2026-01-01T00:00:00.000Z"],
  );
  assert.deepEqual([admin?.name, admin?.tenant], [admin?.id, admin?.id]);
  assert.equal(worker?.kind, "worker");
  assert.ok(!JSON.stringify(ring.list()).includes(SECRET));
  assert.equal(keys().clock.pendingCount, 0, "its uses are never written");
});

test("a key of the configuration is in no file, and gone when it is taken out", async () => {
  const ring = await keys().open();
  ring.configure([{ key: SECRET, permissions: ["read"] }]);
  await ring.issue("client", { name: "app", scopes: ["read"] });
  const stored = await readFile(keys().file, "utf8");
  assert.ok(!stored.includes("config-") && !stored.includes(SECRET));
  const reopened = await keys().open();
  assert.equal(
    codeOf(() => reopened.authenticate(SECRET, HERE)),
    "auth_invalid",
  );
});

test("a key of the configuration can be neither revoked nor rotated", async () => {
  const ring = await keys().open();
  ring.configure([{ key: SECRET, permissions: ["read"] }]);
  const refusal = { code: "request_invalid", message: /take it out of the configuration/ };
  await assert.rejects(ring.revoke(ID), refusal);
  await assert.rejects(ring.rotate(ID, 0), refusal);
  assert.ok(ring.isValid(SECRET));
});

test("a first administrator's key is needed until there is an issued key or an administrator in the configuration", async () => {
  const ring = await keys().open();
  assert.ok(ring.needsFirstKey);
  ring.configure([{ key: SECRET, permissions: ["read"] }]);
  assert.ok(ring.needsFirstKey);
  ring.configure([{ key: `${SECRET}-admin`, permissions: ["admin"] }]);
  assert.ok(!ring.needsFirstKey);
  const other = await keys().open();
  await other.issue("client", { name: "app", scopes: ["admin"] });
  assert.ok(!other.needsFirstKey);
});

const WRONG: readonly [what: string, keys: readonly Configured[], message: RegExp][] = [
  ["short", [{ key: SECRET.slice(1), permissions: ["read"] }], /31 characters; at least 32 .*openssl rand/],
  ["empty", [{ key: "", permissions: ["read"] }], /0 characters/],
  ["with a space", [{ key: `${SECRET} x`, permissions: ["read"] }], /spaces or characters beyond ASCII/],
  ["beyond ASCII", [{ key: `${SECRET}ü`, permissions: ["read"] }], /spaces or characters beyond ASCII/],
  ["like a JWT", [{ key: `${SECRET}.${SECRET}.x`, permissions: ["read"] }], /form of a token/],
  ["an identity", [{ key: newCredential("identity").text, permissions: ["read"] }], /form of a token/],
  ["no permission", [{ key: SECRET, permissions: [] }], /no permission/],
  [
    "unknown permission",
    [{ key: SECRET, permissions: ["root"] }],
    /permission "root"; known are write, admin/,
  ],
  ["worker and more", [{ key: SECRET, permissions: ["worker", "read"] }], /`worker` beside others/],
  ["bad tenant", [{ key: SECRET, permissions: ["read"], tenant: "a b" }], /the tenant "a b"/],
  [
    "twice",
    Array(2).fill({ key: SECRET, permissions: ["read"], name: "n" }),
    /Key 2 \("n"\) .* stands there twice/,
  ],
];

for (const [what, wrong, message] of WRONG) {
  test(`a key of the configuration that is wrong stops the start and is not repeated: ${what}`, async () => {
    const ring = await keys().open();
    assert.throws(
      () => ring.configure(wrong),
      (error: Error & { code?: string; details?: unknown }) => {
        assert.equal(error.code, "config_invalid");
        assert.match(error.message, message);
        const key = wrong[0]?.key ?? "";
        assert.ok(key === "" || !(error.message + JSON.stringify(error.details)).includes(key));
        return true;
      },
    );
    assert.equal(ring.list().length, 0);
  });
}

test("an issued key cannot stand in the configuration: it could no longer be revoked", async () => {
  const ring = await keys().open();
  const { key, id } = await ring.issue("client", { name: "app", scopes: ["read"] });
  await ring.revoke(id);
  assert.throws(() => ring.configure([{ key, permissions: ["admin"] }]), {
    code: "config_invalid",
    message: new RegExp(`is the issued key ${id}`),
  });
  assert.ok(!ring.isValid(key));
});
