/**
 * Keeps a development CA and a server certificate under it in a folder, so that TLS works with no step by hand.
 *
 *   ca.pem       the CA's certificate, and the next one's while it is being changed (`ca-change.ts`): clients and agents pin them
 *   ca.key       the private keys, needed only to issue; may be moved away
 *   server.pem   the server's certificate
 *   server.key   its private key
 *
 * A private key is written before its certificate, and renewal keeps the key: a crash in between leaves nothing that does not match.
 */

import { type KeyObject, X509Certificate } from "node:crypto";
import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { writeFileAtomic } from "@legacygpu/shared/files";
import { hostsOf, normalHosts, unitedHosts } from "./hosts.ts";
import { issueCa, issueServer, newPrivateKey, privateKeyPem } from "./issue.ts";
import { type CaPair, caFilesIn, readCa, type StoredCa, writeCaKeys } from "./stored-ca.ts";
import { type KeyPair, readCertificate, readPrivateKey } from "./stored-pair.ts";

const RENEW_BEFORE_MS = 30 * 86_400_000;

export interface CertificateOptions {
  readonly dir: string;
  /** Host names and IP addresses beside localhost, 127.0.0.1 and ::1. */
  readonly hosts: readonly string[];
  readonly clock: Pick<Clock, "now">;
}

export interface Certificates {
  readonly caFile: string;
  /** All of `caFile`: one certificate, or two. */
  readonly caPem: string;
  readonly certFile: string;
  readonly keyFile: string;
  /** Whether the server certificate is new: first start, renewal, or one more host. */
  readonly created: boolean;
}

/**
 * Makes what is missing, renews what expires within 30 days, and adds hosts that the certificate lacks. The CA stays.
 *
 * @throws `certificate_invalid`, naming the file and what to do, when a file is damaged or does not match its partner.
 */
export async function ensureCertificates({ dir, hosts, clock }: CertificateOptions): Promise<Certificates> {
  const wanted = normalHosts(hosts);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const ca = await ensureCa(dir, clock.now());
  const created = await ensureServer(dir, ca.signer, wanted, clock.now());
  return {
    caFile: caFilesIn(dir).certFile,
    caPem: ca.bundlePem,
    certFile: join(dir, "server.pem"),
    keyFile: join(dir, "server.key"),
    created,
  };
}

async function ensureCa(dir: string, nowMs: number): Promise<StoredCa> {
  const files = caFilesIn(dir);
  const stored = await readCa(files);
  if (stored !== undefined) {
    checkCa(stored.signer, files.certFile, nowMs);
    return stored;
  }
  const key = (await readPrivateKey(files.keyFile)) ?? newPrivateKey();
  await writeCaKeys(files, [key]);
  const bundlePem = await issueCa(key, nowMs);
  await writeFileAtomic(files.certFile, bundlePem);
  return { bundlePem, signer: { certificate: new X509Certificate(bundlePem), key }, successor: undefined };
}

function checkCa({ certificate }: CaPair, file: string, nowMs: number): void {
  if (!certificate.ca) {
    throw fail("certificate_invalid", `${file} is not the certificate of a CA. ${startOver(file)}`, { file });
  }
  if (Date.parse(certificate.validTo) <= nowMs) {
    throw fail(
      "certificate_invalid",
      `The CA in ${file} expired on ${certificate.validTo}. ${startOver(file)}`,
      {
        file,
        expired: certificate.validTo,
      },
    );
  }
}

function startOver(caFile: string): string {
  return `Delete the folder that holds ${caFile} and start again; then give every client and agent the new ca.pem.`;
}

/** @returns whether a new certificate was written. */
async function ensureServer(dir: string, ca: CaPair, wanted: string[], nowMs: number): Promise<boolean> {
  const certFile = join(dir, "server.pem");
  const keyFile = join(dir, "server.key");
  const stored = await readCertificate(certFile, keyFile);
  if (stored?.key !== undefined && isGood(stored, ca, wanted, nowMs)) {
    await chmod(keyFile, 0o600);
    return false;
  }
  const key = stored?.key ?? (await readPrivateKey(keyFile)) ?? newPrivateKey();
  const hosts = unitedHosts(wanted, hostsOf(stored?.certificate.subjectAltName));
  const pem = await issueServer({ ...issuerOf(ca, dir), key, hosts }, nowMs);
  await writeFileAtomic(keyFile, privateKeyPem(key), { mode: 0o600 });
  await writeFileAtomic(certFile, pem);
  return true;
}

function isGood({ certificate }: KeyPair, ca: CaPair, wanted: readonly string[], nowMs: number): boolean {
  const covered = new Set(hostsOf(certificate.subjectAltName));
  const endsAtMs = Date.parse(certificate.validTo);
  return (
    // What ends with its CA cannot be prolonged.
    (endsAtMs - nowMs > RENEW_BEFORE_MS || endsAtMs >= Date.parse(ca.certificate.validTo)) &&
    wanted.every((host) => covered.has(host)) &&
    certificate.verify(ca.certificate.publicKey)
  );
}

function issuerOf(ca: CaPair, dir: string): { caName: string; caKey: KeyObject; caNotAfterMs: number } {
  const caName = ca.certificate.subject.match(/^CN=([^\n]+)$/)?.[1];
  // Certificates are signed with ECDSA: the key of an RSA or Ed25519 CA cannot do that.
  if (ca.key?.asymmetricKeyType !== "ec" || caName === undefined) {
    throw fail(
      "certificate_invalid",
      `The server certificate in ${dir} must be issued again, but ${
        ca.key === undefined ? `${join(dir, "ca.key")} is missing` : "ca.pem was not made by legacygpu"
      }. Put the CA's key back, or provide server.pem and server.key yourself.`,
      { dir },
    );
  }
  return { caName, caKey: ca.key, caNotAfterMs: Date.parse(ca.certificate.validTo) };
}
