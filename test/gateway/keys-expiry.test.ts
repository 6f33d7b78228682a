import assert from "node:assert/strict";
import { test } from "node:test";
import type { KeyRing } from "../../gateway/auth/key-ring.ts";
import { codeOf, DAY_MS, HERE, useKeys } from "./keys-fixture.ts";

const keys = useKeys();

function endsOf(ring: KeyRing): string[] {
  const ended: string[] = [];
  ring.onRevoked((id) => ended.push(id));
  return ended;
}

const DAY = DAY_MS / 1000;

test("a key expires by the clock, and whoever asked is told at that moment", async () => {
  const { clock } = keys();
  const ring = await keys().open();
  const ended = endsOf(ring);
  const long = await ring.issue("client", { name: "long", scopes: ["read"], expires_in: 90 * DAY });
  const short = await ring.issue("worker", { name: "short", scopes: ["worker"], expires_in: 60 });
  const endless = await ring.issue("client", { name: "endless", scopes: ["read"] });
  clock.advance(59_999);
  assert.equal(ring.authenticate(short.key, HERE).keyId, short.id);
  assert.deepEqual(ended, []);
  clock.advance(1);
  assert.equal(
    codeOf(() => ring.authenticate(short.key, HERE)),
    "auth_invalid",
  );
  assert.equal(ring.principalOf(short.id), undefined);
  assert.deepEqual(ended, [short.id]);
  clock.advance(90 * DAY_MS);
  assert.deepEqual(ended, [short.id, long.id]);
  assert.ok(ring.isValid(endless.key));
  assert.equal(clock.pendingCount, 0, "there is nothing left to wait for");
});

test("a restart neither forgets an end nor tells of those that are past", async () => {
  const { clock } = keys();
  const before = await keys().open();
  await before.issue("client", { name: "past", scopes: ["read"], expires_in: 60 });
  const ahead = await before.issue("client", { name: "ahead", scopes: ["read"], expires_in: 120 });
  const revoked = await before.issue("client", { name: "revoked", scopes: ["read"], expires_in: 120 });
  await before.revoke(revoked.id);
  await before.close();
  clock.advance(60_000);
  const ring = await keys().open();
  const ended = endsOf(ring);
  clock.advance(DAY_MS);
  assert.deepEqual(ended, [ahead.id]);
});

test("a key that was revoked before its end is told of once", async () => {
  const ring = await keys().open();
  const ended = endsOf(ring);
  const { id } = await ring.issue("client", { name: "app", scopes: ["read"], expires_in: 60 });
  await ring.revoke(id);
  keys().clock.advance(DAY_MS);
  assert.deepEqual(ended, [id]);
});

test("after a rotation both keys work for the grace, then only the new one, which is the same in all else", async () => {
  const { clock } = keys();
  const ring = await keys().open();
  const ended = endsOf(ring);
  const wanted = {
    name: "app",
    scopes: ["submit" as const, "read" as const],
    expires_in: 90 * DAY,
    networks: ["192.0.2.0/24"],
    models: ["digits"],
    sites: ["lab"],
  };
  const old = await ring.issue("client", wanted);
  clock.advance(80 * DAY_MS);
  const fresh = await ring.rotate(old.id, 3600);
  assert.notEqual(fresh.id, old.id);
  assert.deepEqual(fresh.json, {
    ...old.json,
    id: fresh.id,
    tenant: old.id,
    replaces: old.id,
    created_at: "2026-03-22T00:00:00.000Z",
    expires_at: "2026-06-20T00:00:00.000Z",
  });
  assert.deepEqual(ring.authenticate(old.key, HERE).expiresAtMs, clock.now() + 3_600_000);
  clock.advance(3_599_999);
  assert.ok(ring.isValid(old.key) && ring.isValid(fresh.key));
  clock.advance(1);
  assert.ok(!ring.isValid(old.key) && ring.isValid(fresh.key));
  assert.deepEqual(ended, [old.id]);
  assert.equal(ring.authenticate(fresh.key, HERE).tenant, old.id);
  const reopened = await keys().open();
  assert.ok(!reopened.isValid(old.key) && reopened.isValid(fresh.key));
  assert.equal(reopened.authenticate(fresh.key, HERE).tenant, old.id);
});

test("a rotation without grace ends the old key at once", async () => {
  const ring = await keys().open();
  const ended = endsOf(ring);
  const old = await ring.issue("worker", { name: "box", scopes: ["worker"] });
  const fresh = await ring.rotate(old.id, 0);
  assert.deepEqual(ended, [old.id]);
  assert.ok(!ring.isValid(old.key));
  assert.match(fresh.key, /^lgw_/);
  assert.equal(ring.authenticate(fresh.key, HERE).kind, "worker");
});

test("a grace never lengthens a life, and a life cut short by it is not handed on", async () => {
  const { clock } = keys();
  const ring = await keys().open();
  const old = await ring.issue("client", { name: "app", scopes: ["read"], expires_in: 3600 });
  const endsAtMs = clock.now() + 3_600_000;
  clock.advance(60_000);
  await ring.rotate(old.id, 30 * DAY);
  assert.equal(ring.principalOf(old.id)?.expiresAtMs, endsAtMs);
  await ring.rotate(old.id, 60);
  assert.equal(ring.principalOf(old.id)?.expiresAtMs, clock.now() + 60_000);
  const third = await ring.rotate(old.id, 60);
  assert.equal(third.json.expires_at, new Date(clock.now() + 3_600_000).toISOString());
});

test("a key that is not in force cannot be rotated, and the reason is given", async () => {
  const ring = await keys().open();
  const revoked = await ring.issue("client", { name: "app", scopes: ["read"] });
  await ring.revoke(revoked.id);
  await assert.rejects(ring.rotate(revoked.id, 0), { code: "request_invalid", message: /is revoked/ });
  const expired = await ring.issue("client", { name: "app", scopes: ["read"], expires_in: 60 });
  keys().clock.advance(60_000);
  await assert.rejects(ring.rotate(expired.id, 60), { code: "request_invalid", message: /has expired/ });
  await assert.rejects(ring.rotate("nobody", 60), { code: "key_not_found" });
  assert.equal(ring.list().length, 2);
});
