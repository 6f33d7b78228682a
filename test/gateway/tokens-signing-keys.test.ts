/** Signing keys: announced before they sign, kept after they stopped, and never lost. */

import assert from "node:assert/strict";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { createLogger } from "@legacygpu/shared/log";
import { SigningKeys } from "../../gateway/auth/tokens/signing-keys.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { until } from "../support/until.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

interface Rig {
  readonly clock: ManualClock;
  readonly dir: string;
  readonly file: string;
  open(rotateEveryMs?: number): Promise<SigningKeys>;
}

async function rigFor(t: TestContext): Promise<Rig> {
  const clock = new ManualClock();
  const dir = await mkdtemp(join(tmpdir(), "legacygpu-signing-keys-"));
  const file = join(dir, "signing-keys.json");
  const opened: SigningKeys[] = [];
  t.after(async () => {
    for (const keys of opened) await keys.close();
    assert.equal(clock.pendingCount, 0, "a timer was left behind");
    await rm(dir, { recursive: true, force: true });
  });
  return {
    clock,
    dir,
    file,
    open: async (rotateEveryMs) => {
      const keys = await SigningKeys.open({
        file,
        clock,
        log: createLogger("test", "silent"),
        rotateEveryMs,
      });
      opened.push(keys);
      return keys;
    },
  };
}

const published = (keys: SigningKeys): string[] => keys.jwks().keys.map(({ kid }) => kid);

test("the first start makes a key that signs at once, in a file that only its owner reads", async (t) => {
  const { open, file, dir } = await rigFor(t);
  const keys = await open();
  assert.deepEqual(published(keys), [keys.current.kid]);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.deepEqual(await readdir(dir), ["signing-keys.json"]);
});

test("a restart changes neither name nor keys, announced ones included", async (t) => {
  const { open, clock } = await rigFor(t);
  const before = await open();
  const { kid } = await before.rotate();
  await before.close();
  const after = await open();
  assert.equal(after.issuer, before.issuer);
  assert.deepEqual(after.jwks(), before.jwks());
  assert.equal(after.current.kid, before.current.kid);
  clock.advance(10 * MINUTE_MS);
  assert.equal(after.current.kid, kid);
});

test("two gateways have different names and keys", async (t) => {
  const one = await (await rigFor(t)).open();
  const other = await (await rigFor(t)).open();
  assert.notEqual(one.issuer, other.issuer);
  assert.notEqual(one.current.kid, other.current.kid);
});

test("a new key is published at once, signs ten minutes later, and the old one stays for 25 minutes more", async (t) => {
  const { open, clock } = await rigFor(t);
  const keys = await open();
  const old = keys.current.kid;
  const { kid, signsFromMs } = await keys.rotate();
  assert.equal(signsFromMs, clock.now() + 10 * MINUTE_MS);
  assert.deepEqual(published(keys), [old, kid]);
  assert.equal(keys.current.kid, old);

  clock.advance(10 * MINUTE_MS - 1);
  assert.equal(keys.current.kid, old);
  clock.advance(1);
  assert.equal(keys.current.kid, kid);
  assert.deepEqual(published(keys), [old, kid]);

  clock.advance(25 * MINUTE_MS - 1);
  assert.ok(keys.publicKey(old));
  clock.advance(1);
  assert.deepEqual(published(keys), [kid]);
  assert.equal(keys.publicKey(old), undefined);
});

test("rotating while a key is announced gives that key, and rotating at once gives one for all", async (t) => {
  const { open, clock } = await rigFor(t);
  const keys = await open();
  const both = await Promise.all([keys.rotate(), keys.rotate()]);
  clock.advance(5 * MINUTE_MS);
  const later = await keys.rotate();
  assert.deepEqual(new Set([...both, later].map(({ kid }) => kid)).size, 1);
  assert.equal(published(keys).length, 2);
  clock.advance(5 * MINUTE_MS);
  assert.notEqual((await keys.rotate()).kid, later.kid);
});

test("keys that are gone leave the file with the next rotation", async (t) => {
  const { open, clock, file } = await rigFor(t);
  const keys = await open();
  for (let round = 0; round < 5; round += 1) {
    await keys.rotate();
    clock.advance(60 * MINUTE_MS);
  }
  assert.equal(JSON.parse(await readFile(file, "utf8")).keys.length, 2);
});

test("a month is the age of a key at which the next one is announced", async (t) => {
  const { open, clock } = await rigFor(t);
  const keys = await open();
  clock.advance(30 * DAY_MS - 60 * MINUTE_MS);
  assert.equal(published(keys).length, 1);
  clock.advance(60 * MINUTE_MS);
  await until("a second key", () => published(keys).length === 2);
});

test("the age at which a key is replaced is an option, and a start makes up for what was missed", async (t) => {
  const { open, clock } = await rigFor(t);
  await (await open(DAY_MS)).close();
  clock.advance(3 * DAY_MS);
  const keys = await open(DAY_MS);
  assert.equal(published(keys).length, 2);
});

test("a clock that went back behind every key leaves the gateway able to sign", async (t) => {
  const { open, file } = await rigFor(t);
  const keys = await open();
  const past = new ManualClock(Date.UTC(2020, 0, 1));
  const earlier = await SigningKeys.open({ file, clock: past, log: createLogger("test", "silent") });
  t.after(() => earlier.close());
  assert.equal(earlier.current.kid, keys.current.kid);
});

test("a rotation that cannot be stored changes nothing", async (t) => {
  const { open, dir } = await rigFor(t);
  const keys = await open();
  const before = keys.jwks();
  // A file where the folder should be stops root too.
  await rm(dir, { recursive: true });
  await writeFile(dir, "");
  await assert.rejects(keys.rotate(), { code: "store_failed" });
  assert.deepEqual(keys.jwks(), before);
  await rm(dir);
  await keys.rotate();
  assert.equal(published(keys).length, 2);
});

type Stored = { version: number; instanceId: string; keys: Record<string, unknown>[] };

const DAMAGE: readonly (readonly [what: string, spoil: (stored: Stored) => unknown])[] = [
  ["half a file", (stored) => JSON.stringify(stored).slice(0, 100)],
  ["an empty file", () => ""],
  ["another version", (stored) => ({ ...stored, version: 2 })],
  ["no key", (stored) => ({ ...stored, keys: [] })],
  ["no name", ({ instanceId: _, ...rest }) => rest],
  ["a name that is none", (stored) => ({ ...stored, instanceId: "../x" })],
  ["a member more", (stored) => ({ ...stored, extra: 1 })],
  ["a key without its private half", (stored) => spoilKey(stored, { d: undefined })],
  ["the private half of another key", (stored) => spoilKey(stored, { d: "A".repeat(43) })],
  ["the public half of another key", (stored) => spoilKey(stored, { x: "A".repeat(43) })],
  ["a key under another name", (stored) => spoilKey(stored, { kid: "other" })],
  ["a time that is text", (stored) => spoilKey(stored, { signsFromMs: "now" })],
];

function spoilKey(stored: Stored, more: Record<string, unknown>): unknown {
  return { ...stored, keys: stored.keys.map((key) => ({ ...key, ...more })) };
}

test("a damaged file stops the start and stays as it is", async (t) => {
  const { open, file } = await rigFor(t);
  await (await open()).close();
  const stored = JSON.parse(await readFile(file, "utf8")) as Stored;
  for (const [what, spoil] of DAMAGE) {
    const spoilt = spoil(structuredClone(stored));
    const text = typeof spoilt === "string" ? spoilt : JSON.stringify(spoilt);
    await writeFile(file, text);
    await assert.rejects(open(), { code: "config_invalid" }, what);
    assert.equal(await readFile(file, "utf8"), text, what);
  }
});

test("a file that everybody could read is private again after the next rotation", async (t) => {
  const { open, file } = await rigFor(t);
  const keys = await open();
  await chmod(file, 0o644);
  await keys.rotate();
  assert.equal((await stat(file)).mode & 0o777, 0o600);
});
