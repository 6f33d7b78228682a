import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { credentialId, newCredential } from "../../gateway/auth/credential.ts";
import { KeyRing } from "../../gateway/auth/key-ring.ts";
import { ManualClock } from "../support/manual-clock.ts";

let folder: string;
let file: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "legacygpu-keys-"));
  file = join(folder, "keys.json");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const open = (): Promise<KeyRing> => KeyRing.open(file, new ManualClock());

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

test("keys outlive the process; the file has no secret and only its owner can read it", async () => {
  const ring = await open();
  const { key, id } = await ring.issue("client", { name: "app", scopes: ["submit", "read"] });
  assert.deepEqual([...(await open()).authenticate(key).scopes], ["submit", "read"]);
  const stored = await readFile(file, "utf8");
  assert.ok(stored.includes(id) && !stored.includes(key.slice(15, 47)));
  assert.equal((await stat(file)).mode & 0o777, 0o600);
});

test("a revoked key is refused at once and after a restart, and whoever asked is told", async () => {
  const ring = await open();
  const { key, id } = await ring.issue("worker", { name: "box", scopes: ["worker"] });
  const revoked: string[] = [];
  ring.onRevoked((keyId) => revoked.push(keyId));
  await ring.revoke(id);
  await ring.revoke(id);
  assert.deepEqual(revoked, [id]);
  assert.throws(() => ring.authenticate(key), { code: "auth_invalid" });
  const reopened = await open();
  assert.throws(() => reopened.authenticate(key), { code: "auth_invalid" });
  assert.deepEqual(
    reopened.list().map(({ revoked_at }) => revoked_at),
    ["2026-01-01T00:00:00.000Z"],
  );
});

test("an unknown, a wrong and a malformed key are refused alike", async () => {
  const ring = await open();
  await ring.issue("client", { name: "app", scopes: ["read"] });
  const messages = [newCredential("client").text, "lgk_x", ""].map((presented) => {
    try {
      ring.authenticate(presented);
      return "accepted";
    } catch (error) {
      return (error as Error).message;
    }
  });
  assert.equal(new Set(messages).size, 1);
  assert.notEqual(messages[0], "accepted");
});

test("many keys issued at once are all kept", async () => {
  const ring = await open();
  const issued = await Promise.all(
    Array.from({ length: 20 }, (_, i) => ring.issue("client", { name: `k${i}`, scopes: ["read"] })),
  );
  const reopened = await open();
  assert.ok(issued.every(({ key }) => reopened.isValid(key)));
});

test("a damaged key file stops the start: an empty one in its place would lock everybody out", async () => {
  await writeFile(file, '{"version": 1, "keys": [{"id": 7}]}');
  await assert.rejects(open(), { code: "config_invalid", message: /keys\.json is damaged/ });
});
