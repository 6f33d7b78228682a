/** Where the server certificate comes from over time: renewal, changed files, bad files, ends that come near. */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { copyFile, mkdtemp, readFile, rm, symlink, unlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import { createLogger } from "@legacygpu/shared/log";
import { certificatesIn } from "@legacygpu/shared/pem";
import { ensureCertificates, finishCaChange, startCaChange } from "../../certs/index.ts";
import type { OperatorOrigin, PrivateCaOrigin } from "../../gateway/tls/certificate-origin.ts";
import { CertificateSource } from "../../gateway/tls/certificate-source.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { until } from "../support/until.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

let root = "";
let serial = 0;
let clock: ManualClock;
let lines: { level: number; msg: string }[];
/** Fingerprints of what was put in force, in order. */
let inForce: string[];
let sources: CertificateSource[];

before(async () => {
  root = await mkdtemp(join(tmpdir(), "legacygpu-source-"));
});
after(() => rm(root, { recursive: true }));
beforeEach(() => {
  clock = new ManualClock();
  lines = [];
  inForce = [];
  sources = [];
});
afterEach(async () => {
  for (const source of sources) await source.close();
  assert.equal(clock.pendingCount, 0);
});

const fingerprintOf = (file: string): string => new X509Certificate(readFileSync(file)).fingerprint256;
const endOf = (file: string): number => Date.parse(new X509Certificate(readFileSync(file)).validTo);
const errors = (): string[] => lines.filter(({ level }) => level >= 50).map(({ msg }) => msg);

function newFolder(): string {
  serial += 1;
  return join(root, String(serial));
}

const ourOwn = (): PrivateCaOrigin => ({ kind: "private_ca", dir: newFolder(), hosts: ["gpu.example"] });

interface Issued {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

const issue = (dir = newFolder()): Promise<Issued> => ensureCertificates({ dir, hosts: [], clock });

/** Files like an operator's, which the test may overwrite. */
async function operatorsFiles(): Promise<OperatorOrigin & { caFile: string }> {
  const { certFile, keyFile, caFile } = await issue();
  return { kind: "files", certFile, keyFile, caFile };
}

/** What an ACME client does. */
async function install(next: Issued, into: OperatorOrigin): Promise<void> {
  await copyFile(next.keyFile, into.keyFile);
  await copyFile(next.certFile, into.certFile);
  if (into.caFile !== undefined) await copyFile(next.caFile, into.caFile);
}

async function openSource(origin: PrivateCaOrigin | OperatorOrigin): Promise<CertificateSource> {
  const log = createLogger("test", "info", { write: (line) => void lines.push(JSON.parse(line)) });
  const source = await CertificateSource.open({ origin, clock, log });
  sources.push(source);
  return source;
}

async function watched(
  origin: PrivateCaOrigin | OperatorOrigin,
  replace: () => void = () => {},
): Promise<CertificateSource> {
  const source = await openSource(origin);
  source.watch(({ certFile }) => {
    replace();
    inForce.push(fingerprintOf(certFile));
  });
  return source;
}

test("our own certificate is renewed within a minute of its last 30 days beginning, under the same CA", async () => {
  const origin = ourOwn();
  const { certFile, caFile } = await ensureCertificates({ ...origin, clock });
  const caPem = await readFile(caFile, "utf8");
  const endsAtMs = endOf(certFile);
  clock.advance(endsAtMs - clock.now() - 30 * DAY_MS - MINUTE_MS / 2);
  const source = await watched(origin);
  assert.equal(await source.reload(), "unchanged");
  clock.advance(MINUTE_MS);
  await until("the new certificate to be in force", () => inForce.length > 0);
  await source.close();
  assert.deepEqual(inForce, [fingerprintOf(source.files.certFile)]);
  assert.ok(endOf(certFile) > endsAtMs);
  assert.equal(source.caPem, caPem);
  assert.deepEqual(errors(), []);
});

test("a change of the CA is noticed step by step: first the bundle, then the certificate", async () => {
  const origin = ourOwn();
  const source = await watched(origin);
  const old = source.caPem;
  await startCaChange({ dir: origin.dir, clock });
  clock.advance(MINUTE_MS);
  await until("both CAs", () => certificatesIn(source.caPem ?? "").length === 2);
  assert.deepEqual(inForce, []);
  await finishCaChange({ dir: origin.dir, clock });
  clock.advance(MINUTE_MS);
  await until("the new certificate", () => inForce.length === 1);
  assert.equal(certificatesIn(source.caPem ?? "").length, 1);
  assert.notEqual(source.caPem, old);
});

test("an operator's files are read again when their contents change, not when their times do", async () => {
  const origin = await operatorsFiles();
  const source = await watched(origin);
  await utimes(origin.certFile, new Date(0), new Date(0));
  assert.equal(await source.reload(), "unchanged");
  const next = await issue();
  await install(next, origin);
  clock.advance(MINUTE_MS);
  await until("the new certificate", () => inForce.length === 1);
  assert.deepEqual(inForce, [fingerprintOf(next.certFile)]);
  assert.equal(source.caPem, await readFile(next.caFile, "utf8"));
});

test("a link that is turned to other files counts as a change", async () => {
  const first = await issue();
  const second = await issue();
  const dir = (await issue()).certFile.replace(/server\.pem$/, "");
  const links = { certFile: join(dir, "live.pem"), keyFile: join(dir, "live.key") };
  const link = async ({ certFile, keyFile }: Issued): Promise<void> => {
    await symlink(certFile, links.certFile);
    await symlink(keyFile, links.keyFile);
  };
  await link(first);
  const source = await watched({ kind: "files", ...links, caFile: undefined });
  await unlink(links.certFile);
  await unlink(links.keyFile);
  await link(second);
  assert.equal(await source.reload(), "replaced");
  assert.equal(source.caPem, undefined);
});

test("a bad new file is one error in the log, and the certificate in force stays until a good one comes", async () => {
  const origin = await operatorsFiles();
  const source = await watched(origin);
  const { caPem } = source;
  const next = await issue();
  await copyFile(next.certFile, origin.certFile);
  clock.advance(MINUTE_MS);
  await until("an error", () => errors().length > 0);
  clock.advance(MINUTE_MS);
  clock.advance(MINUTE_MS);
  assert.equal(await source.reload(), "failed");
  assert.equal(errors().length, 2, "one for the checks and one for the reload");
  assert.equal(source.caPem, caPem);
  assert.deepEqual(inForce, []);
  await install(next, origin);
  assert.equal(await source.reload(), "replaced");
  assert.deepEqual(inForce, [fingerprintOf(next.certFile)]);
});

test("an error that lasts is told again every day, and one that comes back at once", async () => {
  const origin = await operatorsFiles();
  const source = await watched(origin);
  const good = await readFile(origin.keyFile);
  await writeFile(origin.keyFile, "no key");
  for (let day = 1; day <= 3; day++) {
    clock.advance(DAY_MS);
    await until("the error of the day", () => errors().length === day);
  }
  await writeFile(origin.keyFile, good);
  assert.equal(await source.reload(), "unchanged");
  await writeFile(origin.keyFile, "no key");
  clock.advance(MINUTE_MS);
  await source.close();
  assert.equal(errors().length, 4);
});

test("when the server refuses a certificate, the one before stays in force and the next check tries again", async () => {
  const origin = await operatorsFiles();
  let refusals = 2;
  const source = await watched(origin, () => {
    refusals -= 1;
    if (refusals >= 0) throw new Error("cannot use it");
  });
  await install(await issue(), origin);
  assert.deepEqual([await source.reload(), await source.reload()], ["failed", "failed"]);
  assert.deepEqual(inForce, []);
  assert.equal(await source.reload(), "replaced");
  assert.equal(inForce.length, 1);
});

test("what cannot be served is refused at the start, naming the file", async () => {
  const origin = await operatorsFiles();
  const other = await issue();
  const missing = join(root, "missing.pem");
  const cases: [Partial<OperatorOrigin>, string][] = [
    [{ certFile: missing }, missing],
    [{ keyFile: missing }, missing],
    [{ caFile: missing }, missing],
    [{ keyFile: other.keyFile }, other.keyFile],
    [{ caFile: other.caFile }, "was not issued by the CA"],
    [{ caFile: origin.keyFile }, origin.keyFile],
  ];
  for (const [change, named] of cases) {
    await assert.rejects(
      openSource({ ...origin, ...change }),
      (error: LegacyGpuError) => error.code === "certificate_invalid" && error.message.includes(named),
    );
  }
  clock.advance(900 * DAY_MS);
  await assert.rejects(openSource(origin), { code: "certificate_invalid", message: /expired/ });
});

test("a certificate that ends within a week, and a CA within three months, are errors once a day", async () => {
  const origin = await operatorsFiles();
  clock.advance(endOf(origin.certFile) - clock.now() - 7 * DAY_MS - MINUTE_MS / 2);
  const source = await watched(origin);
  assert.equal(await source.reload(), "unchanged");
  assert.deepEqual(errors(), []);
  clock.advance(MINUTE_MS);
  await until("a warning", () => errors().length > 0);
  clock.advance(MINUTE_MS);
  await source.close();
  assert.match(errors().join(), /^the certificate ends soon[^,]*$/);

  lines = [];
  const ours = ourOwn();
  await issue(ours.dir);
  clock.advance(3600 * DAY_MS);
  await watched(ours);
  assert.deepEqual(errors(), ["the CA ends soon: begin to change it"]);
});
