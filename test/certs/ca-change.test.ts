/** Changing the CA: what is handed out and who issues at each step, and what a crash between two writes leaves. */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import { certificatesIn } from "@legacygpu/shared/pem";
import {
  type Certificates,
  describeCertificates,
  ensureCertificates,
  finishCaChange,
  startCaChange,
} from "../../certs/index.ts";

const DAY_MS = 86_400_000;
const clock = { now: () => Date.now() };

let root = "";
let dir = "";
let counter = 0;

before(async () => {
  root = await mkdtemp(join(tmpdir(), "legacygpu-ca-change-"));
});
after(() => rm(root, { recursive: true }));
beforeEach(() => {
  counter += 1;
  dir = join(root, String(counter));
});

const ensure = (hosts: string[] = []): Promise<Certificates> => ensureCertificates({ dir, hosts, clock });
const start = (): Promise<void> => startCaChange({ dir, clock });
const finish = (): Promise<void> => finishCaChange({ dir, clock });
const read = (name: string): Promise<string> => readFile(join(dir, name), "utf8");

/** Positions in `ca.pem` of the CA that issued the server certificate. */
async function issuers(): Promise<number[]> {
  const server = new X509Certificate(await read("server.pem"));
  return certificatesIn(await read("ca.pem")).flatMap((ca, i) =>
    server.checkIssued(ca) && server.verify(ca.publicKey) ? [i] : [],
  );
}

const refusesWith =
  (...parts: string[]) =>
  (error: LegacyGpuError): boolean =>
    error.code === "certificate_invalid" && parts.every((part) => error.message.includes(part));

test("starting hands out both CAs and changes nothing else", async () => {
  const { caPem: old } = await ensure(["gpu.example"]);
  const [certificate, key] = [await read("server.pem"), await read("server.key")];
  await start();
  const both = await ensure();
  assert.equal(both.created, false);
  assert.ok(both.caPem.startsWith(old.trimEnd()));
  assert.equal(certificatesIn(both.caPem).length, 2);
  assert.deepEqual([await read("server.pem"), await read("server.key")], [certificate, key]);
  assert.equal((await stat(join(dir, "ca.key"))).mode & 0o777, 0o600);
});

test("between the two steps the old CA goes on issuing", async () => {
  await ensure();
  await start();
  assert.equal((await ensure(["late.example"])).created, true);
  assert.deepEqual(await issuers(), [0]);
});

test("finishing issues from the new CA, for the same names and with the same key, and forgets the old one", async () => {
  const { caPem: old } = await ensure(["gpu.example"]);
  const key = await read("server.key");
  await start();
  const [, successor] = certificatesIn(await read("ca.pem"));
  await finish();
  const done = await ensure();
  assert.equal(done.created, false);
  assert.notEqual(done.caPem, old);
  assert.equal(certificatesIn(done.caPem).length, 1);
  assert.equal(new X509Certificate(done.caPem).fingerprint256, successor?.fingerprint256);
  assert.deepEqual(await issuers(), [0]);
  assert.ok(new X509Certificate(await read("server.pem")).checkHost("gpu.example"));
  assert.equal(await read("server.key"), key);
  assert.equal((await read("ca.key")).match(/BEGIN PRIVATE KEY/g)?.length, 1);
  assert.deepEqual((await readdir(dir)).sort(), ["ca.key", "ca.pem", "server.key", "server.pem"]);
});

test("the CA can be changed again and again", async () => {
  await ensure();
  const seen = new Set<string>();
  for (let i = 0; i < 3; i++) {
    await start();
    await finish();
    seen.add((await ensure()).caPem);
  }
  assert.equal(seen.size, 3);
});

test("steps out of order are refused, and say which is next", async () => {
  await assert.rejects(start(), refusesWith("no CA", dir));
  await ensure();
  await assert.rejects(finish(), refusesWith("Start one first"));
  await start();
  const both = await read("ca.pem");
  await assert.rejects(start(), refusesWith("Finish it first"));
  assert.equal(await read("ca.pem"), both);
});

test("a crash after any write leaves a folder that works and a change that can go on", async () => {
  await ensure();
  const before = await snapshot();
  await start();
  const started = await snapshot();
  await finish();
  const finished = await snapshot();

  // Begun, and only the keys were written.
  await restore({ ...before, "ca.key": started["ca.key"] ?? "" });
  assert.equal((await ensure()).created, false);
  await start();
  assert.equal((await read("ca.key")).match(/BEGIN PRIVATE KEY/g)?.length, 2, "the forgotten key is gone");

  // Finished, and only the CA was written: the next start issues.
  await restore({ ...started, "ca.pem": finished["ca.pem"] ?? "" });
  assert.equal((await ensure()).created, true);
  assert.deepEqual(await issuers(), [0]);

  // Finished, and only the old key is left over.
  await restore({ ...finished, "ca.key": started["ca.key"] ?? "" });
  assert.equal((await ensure()).created, false);
  assert.equal((await ensure(["more.example"])).created, true);
  assert.deepEqual(await issuers(), [0]);
});

test("without the old CA's key a change works, and without the new one's it says what is missing", async () => {
  await ensure();
  await rm(join(dir, "ca.key"));
  await start();
  const key = await read("ca.key");
  await rm(join(dir, "ca.key"));
  await assert.rejects(finish(), refusesWith("ca.key", "missing"));
  assert.equal(certificatesIn(await read("ca.pem")).length, 2);
  await writeFile(join(dir, "ca.key"), key);
  await finish();
  assert.deepEqual(await issuers(), [0]);
});

test("a damaged second certificate is named, not passed on", async () => {
  await ensure();
  await start();
  const bundle = await read("ca.pem");
  await writeFile(join(dir, "ca.pem"), bundle.slice(0, -200));
  await assert.rejects(ensure(), refusesWith("ca.pem"));
});

test("a certificate that ends with its CA is not issued anew at every look", async () => {
  const at = (day: number): Promise<Certificates> => {
    const nowMs = Date.now() + day * DAY_MS;
    return ensureCertificates({ dir, hosts: [], clock: { now: () => nowMs } });
  };
  await at(0);
  assert.equal((await at(3000)).created, true);
  assert.equal((await at(3640)).created, false);
});

test("what is there is described: role, names, ends and a pin that outlives a renewal", async () => {
  assert.deepEqual(await describeCertificates(dir), []);
  await ensure(["gpu.example"]);
  const before = await describeCertificates(dir);
  assert.deepEqual(
    before.map(({ role, file }) => [role, file]),
    [
      ["ca", join(dir, "ca.pem")],
      ["server", join(dir, "server.pem")],
    ],
  );
  assert.ok(before[1]?.names.includes("gpu.example"));
  assert.match(before[0]?.spkiSha256 ?? "", /^[A-Za-z0-9+/]{43}=$/);
  await ensure(["more.example"]);
  assert.deepEqual(
    (await describeCertificates(dir)).map(({ spkiSha256 }) => spkiSha256),
    before.map(({ spkiSha256 }) => spkiSha256),
  );
  await start();
  const roles = (await describeCertificates(dir)).map(({ role }) => role);
  assert.deepEqual(roles, ["ca", "next ca", "server"]);
});

type Snapshot = Readonly<Record<string, string>>;

async function snapshot(): Promise<Snapshot> {
  const names = await readdir(dir);
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await read(name)])));
}

async function restore(files: Snapshot): Promise<void> {
  for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);
}
