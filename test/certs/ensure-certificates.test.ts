/** Certificates as a real TLS client and server see them, and what happens to the files over time. */

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { connect, createServer } from "node:tls";
import { LegacyGpuError } from "@legacygpu/shared/errors";
import { type Certificates, ensureCertificates } from "../../certs/index.ts";

const DAY_MS = 86_400_000;
const START_MS = Date.now();

let root = "";
let dir = "";
let counter = 0;

before(async () => {
  root = await mkdtemp(join(tmpdir(), "legacygpu-certs-"));
});
after(() => rm(root, { recursive: true, force: true }));
beforeEach(() => {
  counter += 1;
  dir = join(root, String(counter));
});

const ensure = (hosts: string[] = [], nowMs = START_MS): Promise<Certificates> =>
  ensureCertificates({ dir, hosts, clock: { now: () => nowMs } });

async function parsed(file: string): Promise<X509Certificate> {
  return new X509Certificate(await readFile(file));
}

function isInvalidNaming(...parts: string[]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof LegacyGpuError);
    assert.equal(error.code, "certificate_invalid");
    for (const part of parts) assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
    return true;
  };
}

async function handshake(served: Certificates, host: string, caPem: string): Promise<string> {
  const server = createServer({ cert: await readFile(served.certFile), key: await readFile(served.keyFile) });
  server.on("tlsClientError", () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const socket = connect({
    host: "127.0.0.1",
    port,
    ca: caPem,
    servername: host === "127.0.0.1" ? "" : host,
  });
  try {
    await once(socket, "secureConnect");
    return socket.authorized ? (socket.getProtocol() ?? "") : String(socket.authorizationError);
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  } finally {
    socket.destroy();
    server.close();
    await once(server, "close");
  }
}

test("a client that pins the CA gets a TLS 1.3 connection by name and by address", async () => {
  const made = await ensure();
  assert.equal(made.created, true);
  assert.equal(await handshake(made, "localhost", made.caPem), "TLSv1.3");
  assert.equal(await handshake(made, "127.0.0.1", made.caPem), "TLSv1.3");
});

test("a client that pins another CA is refused", async () => {
  const made = await ensure();
  dir = `${dir}-other`;
  const other = await ensure();
  assert.equal(await handshake(made, "localhost", other.caPem), "UNABLE_TO_VERIFY_LEAF_SIGNATURE");
});

test("a name that the certificate lacks is refused", async () => {
  const made = await ensure();
  assert.equal(await handshake(made, "gpu.example", made.caPem), "ERR_TLS_CERT_ALTNAME_INVALID");
});

test("private keys are for their owner only", async () => {
  const made = await ensure();
  for (const name of ["ca.key", "server.key"]) {
    assert.equal((await stat(join(dir, name))).mode & 0o777, 0o600, name);
  }
  assert.equal((await stat(dir)).mode & 0o777, 0o700);
  assert.equal((await stat(made.caFile)).mode & 0o777, 0o644);
});

test("lifetimes, usages and names are what verifiers ask for", async () => {
  const made = await ensure(["GPU.example.", "10.1.2.3", "[2001:DB8::7]", "*.lab.example"]);
  const [ca, server] = [await parsed(made.caFile), await parsed(made.certFile)];
  assert.equal(ca.ca, true);
  assert.equal(server.ca, false);
  const lifeDays = (Date.parse(server.validTo) - Date.parse(server.validFrom)) / DAY_MS;
  assert.ok(lifeDays <= 825 && lifeDays > 820, `${lifeDays} days`);
  assert.ok(Date.parse(ca.validTo) - START_MS > 3640 * DAY_MS);
  for (const host of ["localhost", "gpu.example", "a.lab.example"]) assert.ok(server.checkHost(host), host);
  for (const address of ["127.0.0.1", "::1", "10.1.2.3", "2001:db8::7"]) {
    assert.ok(server.checkIP(address), address);
  }
  assert.deepEqual(server.keyUsage, ["1.3.6.1.5.5.7.3.1"]);
});

test("the same files are used again", async () => {
  const first = await ensure(["gpu.example"]);
  const bytes = await readFile(first.certFile);
  const second = await ensure(["gpu.example"]);
  assert.equal(second.created, false);
  assert.equal(second.caPem, first.caPem);
  assert.deepEqual(await readFile(second.certFile), bytes);
  assert.equal((await ensure()).created, false, "fewer hosts need no new certificate");
});

test("one more host gives a new server certificate under the same CA, with the old hosts kept", async () => {
  const first = await ensure(["one.example"]);
  const second = await ensure(["two.example"]);
  assert.equal(second.created, true);
  assert.equal(second.caPem, first.caPem);
  const server = await parsed(second.certFile);
  assert.ok(server.checkHost("one.example") && server.checkHost("two.example"));
  assert.equal(await handshake(second, "two.example", first.caPem), "TLSv1.3");
});

test("a certificate with less than 30 days left is renewed; the CA and the private key stay", async () => {
  const first = await ensure();
  const key = await readFile(first.keyFile, "utf8");
  assert.equal((await ensure([], START_MS + 780 * DAY_MS)).created, false);
  const renewed = await ensure([], START_MS + 800 * DAY_MS);
  assert.equal(renewed.created, true);
  assert.equal(renewed.caPem, first.caPem);
  assert.equal(await readFile(renewed.keyFile, "utf8"), key);
});

test("a server certificate never outlives its CA, and an expired CA is an error that says what to do", async () => {
  const { caFile, certFile } = await ensure();
  await ensure([], START_MS + 3000 * DAY_MS);
  assert.equal((await parsed(certFile)).validTo, (await parsed(caFile)).validTo);
  await assert.rejects(
    ensure([], START_MS + 3660 * DAY_MS),
    isInvalidNaming(caFile, "expired", "start again"),
  );
});

test("damaged files are named, with a remedy", async () => {
  const made = await ensure();
  const cases = [
    ["server.key", "Restore it, or delete server.pem and server.key"],
    ["server.pem", "Restore it, or delete server.pem and server.key"],
    ["ca.key", "needs the new ca.pem"],
    ["ca.pem", "needs the new ca.pem"],
  ] as const;
  for (const [name, remedy] of cases) {
    const file = join(dir, name);
    const good = await readFile(file);
    await writeFile(file, good.subarray(0, good.length / 2));
    await assert.rejects(ensure(), isInvalidNaming(file, remedy));
    await writeFile(file, good);
  }
  assert.equal((await ensure()).caPem, made.caPem);
});

test("a key that belongs to another certificate is named", async () => {
  await ensure();
  await writeFile(join(dir, "server.key"), await readFile(join(dir, "ca.key")));
  await assert.rejects(ensure(), isInvalidNaming(join(dir, "server.key"), "does not belong to"));
});

test("without the CA's key everything works until something must be issued", async () => {
  await ensure();
  await rm(join(dir, "ca.key"));
  assert.equal((await ensure()).created, false);
  await assert.rejects(ensure(["new.example"]), isInvalidNaming("ca.key", "missing"));
});

test("an RSA CA that somebody else made is not used to issue", async (t) => {
  if (spawnSync("openssl", ["version"]).error) return t.skip("openssl is not installed");
  await mkdir(dir);
  const files = ["-keyout", join(dir, "ca.key"), "-out", join(dir, "ca.pem")];
  execFileSync(
    "openssl",
    ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Other CA", ...files],
    {
      stdio: "ignore",
    },
  );
  await assert.rejects(ensure(), isInvalidNaming(dir, "ca.pem was not made by legacygpu"));
});

test("what is neither a name nor an address is refused before anything is written", async () => {
  for (const host of ["", "two words", "a..b", "http://x", "x:8000", `${"a".repeat(64)}.example`]) {
    await assert.rejects(ensure([host]), isInvalidNaming(`"${host}"`));
  }
  await assert.rejects(stat(dir));
});

test("OpenSSL's strict verifier accepts the chain", async (t) => {
  if (spawnSync("openssl", ["version"]).error) return t.skip("openssl is not installed");
  const made = await ensure(["gpu.example", "::ffff:192.0.2.1"]);
  const args = ["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "gpu.example"];
  const said = execFileSync("openssl", [...args, "-CAfile", made.caFile, made.certFile], {
    encoding: "utf8",
  });
  assert.match(said, /: OK$/m);
});
