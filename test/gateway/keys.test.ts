import assert from "node:assert/strict";
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import {
  CREDENTIAL_PATTERN,
  type CredentialKind,
  credentialId,
  newCredential,
} from "../../gateway/auth/credential.ts";
import { KeyFile } from "../../gateway/auth/key-file.ts";
import { until } from "../support/until.ts";
import { codeOf, HERE, MINUTE_MS, useKeys } from "./keys-fixture.ts";

const keys = useKeys();
const KINDS: readonly CredentialKind[] = ["client", "worker", "identity", "join"];

test("a key has its form, and one wrong character is recognised without asking anybody", () => {
  const { text, id } = newCredential("client");
  assert.match(text, /^lgk_[0-9A-Za-z]{10}_[0-9A-Za-z]{38}$/);
  assert.match(newCredential("worker").text, /^lgw_/);
  assert.equal(credentialId(text), id);
  for (let i = 0; i < text.length; i += 1) {
    const typo = text.slice(0, i) + (text[i] === "x" ? "y" : "x") + text.slice(i + 1);
    assert.equal(credentialId(typo), undefined, `character ${i}`);
  }
});

test("the published pattern finds every kind of credential in any text, and nothing shorter", () => {
  for (const kind of KINDS) {
    const { text } = newCredential(kind);
    assert.deepEqual(CREDENTIAL_PATTERN.exec(`MY_KEY="${text}";\nnext`)?.[0], text);
    assert.deepEqual(CREDENTIAL_PATTERN.exec(`https://x/?key=${text}&a=b`)?.[0], text);
    assert.equal(CREDENTIAL_PATTERN.test(text.slice(0, -1)), false);
    assert.equal(CREDENTIAL_PATTERN.test(text.replace("_", "-")), false);
  }
  assert.equal(CREDENTIAL_PATTERN.test("lgx_0123456789_01234567890123456789012345678901234567"), false);
  assert.equal(CREDENTIAL_PATTERN.flags, "");
});

test("no flipped bit, no truncation and no addition makes a key that is accepted", async () => {
  const ring = await keys().open();
  const own = (await ring.issue("client", { name: "app", scopes: ["read"] })).key;
  const configured = "correct-horse-battery-staple-0123456789";
  ring.configure([{ key: configured, permissions: ["read"] }]);
  const damaged = fc
    .record({ text: fc.constantFrom(own, configured), at: fc.nat(1000), bit: fc.nat(7), more: fc.string() })
    .chain(({ text, at, bit, more }) => {
      const bytes = Buffer.from(text);
      const place = at % bytes.length;
      bytes.writeUInt8(bytes.readUInt8(place) ^ (1 << bit), place);
      return fc.constantFrom(
        bytes.toString("latin1"),
        text.slice(0, place),
        text.slice(place + 1),
        `${text}${more || "0"}`,
        `${more || "0"}${text}`,
      );
    });
  fc.assert(
    fc.property(damaged, (text) => {
      assert.equal(
        codeOf(() => ring.authenticate(text, HERE)),
        "auth_invalid",
      );
    }),
    { numRuns: 2000 },
  );
  assert.equal(ring.authenticate(own, HERE).name, "app");
  assert.deepEqual(ring.authenticate(configured, HERE).scopes, new Set(["read"]));
});

test("keys outlive the process; the file has no secret and only its owner can read it", async () => {
  const ring = await keys().open();
  const { key, id } = await ring.issue("client", { name: "app", scopes: ["submit", "read"] });
  const reopened = await keys().open();
  assert.deepEqual([...reopened.authenticate(key, HERE).scopes], ["submit", "read"]);
  const stored = await readFile(keys().file, "utf8");
  assert.ok(stored.includes(id) && !stored.includes(key.slice(15, 47)));
  assert.equal((await stat(keys().file)).mode & 0o777, 0o600);
});

test("what a key was made for is what its principal may, also after a restart", async () => {
  const wanted = {
    name: "lab",
    scopes: ["submit", "submit", "read"] as const,
    tenant: "physics",
    expires_in: 3600,
    networks: ["192.0.2.0/24", "2001:db8::/32"],
    models: ["digits"],
    sites: ["lab-1", "lab-2"],
  };
  const ring = await keys().open();
  const { key, id, json } = await ring.issue("client", { ...wanted, scopes: [...wanted.scopes] });
  const expected = {
    kind: "client",
    keyId: id,
    tenant: "physics",
    name: "lab",
    scopes: new Set(["submit", "read"]),
    models: new Set(["digits"]),
    sites: new Set(["lab-1", "lab-2"]),
    expiresAtMs: keys().clock.now() + 3_600_000,
  };
  const reopened = await keys().open();
  for (const each of [ring, reopened]) {
    assert.deepEqual(each.authenticate(key, HERE), expected);
    assert.deepEqual(each.principalOf(id), expected);
  }
  assert.deepEqual(json, {
    id,
    kind: "client",
    name: "lab",
    scopes: ["submit", "read"],
    tenant: "physics",
    created_at: "2026-01-01T00:00:00.000Z",
    expires_at: "2026-01-01T01:00:00.000Z",
    revoked_at: null,
    last_used_at: null,
    networks: wanted.networks,
    models: wanted.models,
    sites: wanted.sites,
    replaces: null,
    source: "issued",
  });
});

test("a key without a tenant is a tenant of its own", async () => {
  const { id, json } = await (await keys().open()).issue("client", { name: "app", scopes: ["read"] });
  assert.equal(json.tenant, id);
});

test("a key file of the first version is read, and its keys are tenants of their own", async () => {
  const old = newCredential("worker");
  const sha256 = old.hash.toString("hex");
  const record = { id: old.id, kind: "worker", name: "box", scopes: ["worker"], sha256 };
  const times = { createdAtMs: 1_700_000_000_000, revokedAtMs: null };
  await writeFile(keys().file, JSON.stringify({ version: 1, keys: [{ ...record, ...times }] }));
  const ring = await keys().open();
  assert.equal(ring.needsFirstKey, false);
  const before = ring.authenticate(old.text, HERE);
  assert.deepEqual([before.keyId, before.tenant, before.expiresAtMs], [old.id, old.id, undefined]);
  const { key } = await ring.issue("client", { name: "app", scopes: ["read"] });
  assert.match(await readFile(keys().file, "utf8"), /"version": 2/);
  const reopened = await keys().open();
  assert.deepEqual(reopened.authenticate(old.text, HERE), before);
  assert.ok(reopened.isValid(key));
});

test("a revoked key is refused at once and after a restart, and whoever asked is told before it is on disk", async () => {
  const ring = await keys().open();
  const { key, id } = await ring.issue("worker", { name: "box", scopes: ["worker"] });
  const revoked: string[] = [];
  ring.onRevoked((keyId) => revoked.push(keyId));
  const revoking = ring.revoke(id);
  assert.deepEqual(revoked, [id]);
  assert.throws(() => ring.authenticate(key, HERE), { code: "auth_invalid" });
  assert.equal(ring.principalOf(id), undefined);
  await revoking;
  await ring.revoke(id);
  assert.deepEqual(revoked, [id]);
  const reopened = await keys().open();
  assert.throws(() => reopened.authenticate(key, HERE), { code: "auth_invalid" });
  assert.deepEqual(
    reopened.list().map(({ revoked_at }) => revoked_at),
    ["2026-01-01T00:00:00.000Z"],
  );
  await assert.rejects(ring.revoke("nobody"), { code: "key_not_found" });
});

test("an unknown, wrong, malformed, revoked, expired and misplaced key are refused alike, and each at the same cost", async () => {
  const ring = await keys().open();
  const wanted = { name: "app", scopes: ["read" as const] };
  const [good, revoked, expired, misplaced] = await Promise.all([
    ring.issue("client", wanted),
    ring.issue("client", wanted),
    ring.issue("client", { ...wanted, expires_in: 60 }),
    ring.issue("client", { ...wanted, networks: ["10.0.0.0/8"] }),
  ]);
  await ring.revoke(revoked.id);
  keys().clock.advance(MINUTE_MS);
  let asked = 0;
  const head = {
    get remoteAddress() {
      asked += 1;
      return HERE.remoteAddress;
    },
  };
  const wrong = [
    newCredential("client").text,
    `${good.key.slice(0, 15)}${newCredential("client").text.slice(15)}`,
    "lgk_x",
    "",
    revoked.key,
    expired.key,
    misplaced.key,
  ];
  for (const presented of wrong) {
    asked = 0;
    assert.throws(() => ring.authenticate(presented, head), {
      code: "auth_invalid",
      message: "The credential is not valid.",
      details: {},
    });
    assert.equal(asked, 1, "every refusal looks at the address");
  }
  asked = 0;
  ring.authenticate(good.key, head);
  assert.equal(asked, 0, "a key without networks does not cost a system call");
});

test("many keys issued at once are all kept", async () => {
  const ring = await keys().open();
  const issued = await Promise.all(
    Array.from({ length: 20 }, (_, i) => ring.issue("client", { name: `k${i}`, scopes: ["read"] })),
  );
  const reopened = await keys().open();
  assert.ok(issued.every(({ key }) => reopened.isValid(key)));
});

test("however much changes while a write is under way, there is one more write", async () => {
  let copies = 0;
  const file = new KeyFile(keys().file, () => {
    copies += 1;
    return [];
  });
  const saves = (): Promise<void>[] => Array.from({ length: 50 }, () => file.save());
  const first = saves();
  await until("the first write", () => copies === 1);
  await Promise.all([...first, ...saves()]);
  assert.equal(copies, 2);
});

test("what cannot be written is not done: a key that nobody was told of, a rotation; a revocation holds all the same", async () => {
  const ring = await keys().open();
  const { key, id } = await ring.issue("client", { name: "app", scopes: ["read"] });
  const { id: lost, key: lostKey } = await ring.issue("client", { name: "lost", scopes: ["read"] });
  await rm(keys().file);
  await mkdir(join(keys().file, "in the way"), { recursive: true });
  await assert.rejects(ring.issue("client", { name: "new", scopes: ["read"] }));
  await assert.rejects(ring.rotate(id, 0));
  await assert.rejects(ring.revoke(lost));
  assert.deepEqual(
    ring.list().map(({ name, expires_at }) => [name, expires_at]),
    [
      ["app", null],
      ["lost", null],
    ],
  );
  assert.ok(ring.isValid(key));
  assert.ok(!ring.isValid(lostKey));

  await rm(keys().file, { recursive: true });
  await ring.revoke(lost);
  const reopened = await keys().open();
  assert.ok(reopened.isValid(key));
  assert.ok(!reopened.isValid(lostKey), "revoking again writes what could not be written before");
});

test("a damaged key file stops the start: an empty one in its place would lock everybody out", async () => {
  await writeFile(keys().file, '{"version": 1, "keys": [{"id": 7}]}');
  await assert.rejects(keys().open(), { code: "config_invalid", message: /keys\.json is damaged/ });
});

test("the last use is known to the minute, and written a minute later or at the end", async () => {
  const { clock, file } = keys();
  const ring = await keys().open();
  const { key, id } = await ring.issue("client", { name: "app", scopes: ["read"] });
  const lastUse = (): string | null | undefined => ring.list()[0]?.last_used_at;
  const storedUse = async (): Promise<unknown> =>
    JSON.parse(await readFile(file, "utf8")).keys[0].lastUsedAtMs;
  assert.equal(lastUse(), null);
  clock.advance(90_500);
  for (let i = 0; i < 100; i += 1) ring.authenticate(key, HERE);
  assert.equal(lastUse(), "2026-01-01T00:01:00.000Z");
  assert.equal(clock.pendingCount, 1);
  assert.equal(await storedUse(), null);
  clock.advance(MINUTE_MS);
  await until("the use is on disk", storedUse);
  assert.equal(await storedUse(), Date.UTC(2026, 0, 1, 0, 1));
  assert.equal(clock.pendingCount, 0);

  ring.authenticate(key, HERE);
  await ring.close();
  assert.equal(await storedUse(), Date.UTC(2026, 0, 1, 0, 2));
  await ring.close();
  ring.authenticate(key, HERE);
  assert.equal(clock.pendingCount, 0, "nothing is begun after the end");
  assert.equal((await keys().open()).list()[0]?.last_used_at, "2026-01-01T00:02:00.000Z");
  assert.throws(() => ring.authenticate(newCredential("client").text, HERE));
  assert.ok(ring.principalOf(id));
});
