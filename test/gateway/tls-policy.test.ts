/** Which versions and ciphers of TLS the server speaks, and where it may do without: asked by real clients that offer one thing only. */

import "reflect-metadata"; // What makes the RSA certificate needs it.
import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, type TestContext, test } from "node:test";
import { connect, type SecureVersion } from "node:tls";
import {
  BasicConstraintsExtension,
  cryptoProvider,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { listen } from "../../gateway/http/server.ts";
import { type Gateway, route, startGateway } from "./http-server-fixture.ts";

interface Trusted {
  readonly gateway: Gateway;
  readonly caPem: string;
}

interface Offer {
  readonly version: SecureVersion;
  /** For TLS 1.2 and before. */
  readonly cipher?: string;
}

let dir = "";
let rsa: { keyFile: string; certFile: string; pem: string };

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "legacygpu-tls-policy-"));
  rsa = await selfSignedRsa();
});
after(() => rm(dir, { recursive: true }));

/** As an operator may bring one: what RSA key exchange needs. */
async function selfSignedRsa(): Promise<{ keyFile: string; certFile: string; pem: string }> {
  cryptoProvider.set(webcrypto);
  const algorithm = {
    name: "RSASSA-PKCS1-v1_5",
    hash: "SHA-256",
    modulusLength: 2048,
    publicExponent: E65537,
  };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: "CN=localhost",
    keys,
    signingAlgorithm: algorithm,
    notBefore: new Date(Date.now() - 3_600_000),
    notAfter: new Date(Date.now() + 86_400_000),
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new SubjectAlternativeNameExtension([{ type: "dns", value: "localhost" }]),
    ],
  });
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  const [keyFile, certFile, pem] = [join(dir, "rsa.key"), join(dir, "rsa.pem"), certificate.toString("pem")];
  await writeFile(keyFile, `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`);
  await writeFile(certFile, pem);
  return { keyFile, certFile, pem };
}

const E65537 = new Uint8Array([1, 0, 1]);

async function withEcdsa(t: TestContext): Promise<Trusted> {
  const gateway = await startGateway(t, { routes: [route()] });
  return { gateway, caPem: gateway.caPem };
}

async function withRsa(t: TestContext): Promise<Trusted> {
  const { keyFile, certFile, pem } = rsa;
  return { gateway: await startGateway(t, { tls: { keyFile, certFile }, routes: [route()] }), caPem: pem };
}

/** @returns version and cipher, or the code of what ended the handshake. */
async function offer({ gateway, caPem }: Trusted, { version, cipher }: Offer): Promise<string> {
  const socket = connect({
    host: "127.0.0.1",
    port: gateway.server.port,
    servername: "localhost",
    ca: caPem,
    minVersion: version,
    maxVersion: version,
    // The client's own minimum would keep the old ones from being offered at all.
    ...(version === "TLSv1.3" ? {} : { ciphers: `${cipher ?? "ALL"}:@SECLEVEL=0` }),
  });
  try {
    await once(socket, "secureConnect");
    return `${socket.getProtocol()} ${socket.getCipher().name}`;
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  } finally {
    socket.destroy();
  }
}

const REFUSED = /ALERT|HANDSHAKE_FAILURE/;

test("TLS 1.3 and 1.2 are spoken", async (t) => {
  const trusted = await withEcdsa(t);
  assert.match(await offer(trusted, { version: "TLSv1.3" }), /^TLSv1\.3 TLS_/);
  assert.match(await offer(trusted, { version: "TLSv1.2" }), /^TLSv1\.2 ECDHE-ECDSA-\S+(GCM|POLY1305)/);
});

test("TLS 1.1 and 1.0 are refused", async (t) => {
  const trusted = await withEcdsa(t);
  for (const version of ["TLSv1.1", "TLSv1"] as const) {
    assert.match(await offer(trusted, { version }), /PROTOCOL_VERSION/, version);
  }
});

test("every TLS 1.2 cipher that is spoken has forward secrecy and authenticated encryption", async (t) => {
  const [ecdsa, rsaServer] = [await withEcdsa(t), await withRsa(t)];
  const spoken: [Trusted, string][] = [
    [ecdsa, "ECDHE-ECDSA-AES128-GCM-SHA256"],
    [ecdsa, "ECDHE-ECDSA-AES256-GCM-SHA384"],
    [ecdsa, "ECDHE-ECDSA-CHACHA20-POLY1305"],
    [rsaServer, "ECDHE-RSA-AES128-GCM-SHA256"],
    [rsaServer, "ECDHE-RSA-AES256-GCM-SHA384"],
    [rsaServer, "ECDHE-RSA-CHACHA20-POLY1305"],
  ];
  for (const [trusted, cipher] of spoken) {
    assert.equal(await offer(trusted, { version: "TLSv1.2", cipher }), `TLSv1.2 ${cipher}`);
  }
});

test("CBC is refused", async (t) => {
  const [ecdsa, rsaServer] = [await withEcdsa(t), await withRsa(t)];
  for (const cipher of ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES128-SHA256"]) {
    assert.match(await offer(ecdsa, { version: "TLSv1.2", cipher }), REFUSED, cipher);
  }
  for (const cipher of ["ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA", "ECDHE-RSA-AES128-SHA256"]) {
    assert.match(await offer(rsaServer, { version: "TLSv1.2", cipher }), REFUSED, cipher);
  }
});

test("RSA key exchange is refused, although the certificate would do for it", async (t) => {
  const trusted = await withRsa(t);
  for (const cipher of ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA", "AES256-SHA"]) {
    assert.match(await offer(trusted, { version: "TLSv1.2", cipher }), REFUSED, cipher);
  }
});

test("the policy is the same under a certificate that came later", async (t) => {
  const { gateway } = await withEcdsa(t);
  gateway.server.replaceCertificate(rsa);
  const trusted = { gateway, caPem: rsa.pem };
  assert.match(await offer(trusted, { version: "TLSv1.3" }), /^TLSv1\.3/);
  assert.match(await offer(trusted, { version: "TLSv1.1" }), /PROTOCOL_VERSION/);
  for (const cipher of ["AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA"]) {
    assert.match(await offer(trusted, { version: "TLSv1.2", cipher }), REFUSED, cipher);
  }
});

test("plain HTTP is for loopback only", async (t) => {
  for (const host of ["127.0.0.1", "localhost"]) {
    const gateway = await startGateway(t, { host, tls: undefined, routes: [route()] });
    const reply = await fetch(`http://127.0.0.1:${gateway.server.port}/`);
    assert.equal(await reply.text(), "ok", host);
  }
  const { options } = await startGateway(t, { tls: undefined });
  for (const host of ["0.0.0.0", "::", "", "192.0.2.1", "127.0.0.1.example.com", "gpu.example"]) {
    await assert.rejects(listen({ ...options, host }), { code: "config_invalid" }, host);
  }
});
