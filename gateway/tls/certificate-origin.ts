/** The two places that a server certificate comes from: our private CA, or files that an operator's own tools (an ACME client) keep. */

import { createHash, type X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { ensureCertificates } from "@legacygpu/certs";
import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { certificatesIn } from "@legacygpu/shared/pem";
import { checkCertificate } from "../http/preflight.ts";

export type CertificateOrigin = PrivateCaOrigin | OperatorOrigin;

/** Made and renewed by ourselves. */
export interface PrivateCaOrigin {
  readonly kind: "private_ca";
  readonly dir: string;
  /** Names and addresses that clients use, beside localhost. */
  readonly hosts: readonly string[];
}

export interface OperatorOrigin {
  readonly kind: "files";
  /** The certificate, then those of the CAs between it and a root. */
  readonly certFile: string;
  readonly keyFile: string;
  /** For agents and clients to pin. Absent: the certificate comes from a CA that every system knows. */
  readonly caFile: string | undefined;
}

/** What lies in the files at one moment, found to be usable. */
export interface StoredCertificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string | undefined;
  readonly caPem: string | undefined;
  /** Another one when certificate or key are others. */
  readonly digest: string;
  readonly endsAtMs: number;
  /** Only of a private CA: changing it takes a person. */
  readonly caEndsAtMs: number | undefined;
}

/**
 * Makes or renews what is ours to make, and reads the rest.
 *
 * @throws `certificate_invalid`, naming the file and what is wrong with it.
 */
export function readOrigin(origin: CertificateOrigin, clock: Pick<Clock, "now">): Promise<StoredCertificate> {
  return origin.kind === "private_ca" ? readOurs(origin, clock) : readOperators(origin, clock.now());
}

async function readOurs(
  { dir, hosts }: PrivateCaOrigin,
  clock: Pick<Clock, "now">,
): Promise<StoredCertificate> {
  const { certFile, keyFile, caFile, caPem } = await ensureCertificates({ dir, hosts, clock });
  const { certificates, digest } = await readPair(certFile, keyFile);
  return {
    certFile,
    keyFile,
    caFile,
    caPem,
    digest,
    endsAtMs: endOf(certificates[0]),
    caEndsAtMs: endOf(certificatesIn(caPem)[0]),
  };
}

async function readOperators(origin: OperatorOrigin, nowMs: number): Promise<StoredCertificate> {
  const { certFile, keyFile, caFile } = origin;
  const { certificates, digest } = await readPair(certFile, keyFile);
  const endsAtMs = endOf(certificates[0]);
  if (endsAtMs <= nowMs) {
    const message = `The certificate in ${certFile} expired on ${new Date(endsAtMs).toISOString()}. Renew it.`;
    throw fail("certificate_invalid", message, { file: certFile });
  }
  const caPem = caFile === undefined ? undefined : await readPinnedCa(caFile, certFile, certificates);
  return { certFile, keyFile, caFile, caPem, digest, endsAtMs, caEndsAtMs: undefined };
}

async function readPair(
  certFile: string,
  keyFile: string,
): Promise<{ certificates: X509Certificate[]; digest: string }> {
  checkCertificate({ certFile, keyFile });
  const pem = await readFile(certFile, "utf8");
  const digest = createHash("sha256")
    .update(pem)
    .update("\0")
    .update(await readFile(keyFile))
    .digest("hex");
  return { certificates: parse(certFile, pem), digest };
}

/** What agents are told to pin must let them in. */
async function readPinnedCa(caFile: string, certFile: string, chain: X509Certificate[]): Promise<string> {
  let pem: string;
  try {
    pem = await readFile(caFile, "utf8");
  } catch (cause) {
    const message = `The CA file ${caFile} cannot be read: ${(cause as Error).message}`;
    throw fail("certificate_invalid", message, { file: caFile }, cause);
  }
  if (isIssuedUnder(parse(caFile, pem), chain)) return pem;
  const message = `The certificate in ${certFile} was not issued by the CA in ${caFile}: agents that pin it would refuse it.`;
  throw fail("certificate_invalid", message, { file: caFile, certFile });
}

function isIssuedUnder(trusted: readonly X509Certificate[], chain: readonly X509Certificate[]): boolean {
  let at = chain[0];
  for (let step = 0; at !== undefined && step < chain.length; step++) {
    const current: X509Certificate = at;
    if (trusted.some((ca) => ca.fingerprint256 === current.fingerprint256 || isIssuer(ca, current)))
      return true;
    at = chain.find((candidate) => candidate !== current && isIssuer(candidate, current));
  }
  return false;
}

function isIssuer(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function parse(file: string, pem: string): X509Certificate[] {
  try {
    return certificatesIn(pem);
  } catch (cause) {
    throw fail(
      "certificate_invalid",
      `${file} holds what is not a certificate in PEM form.`,
      { file },
      cause,
    );
  }
}

function endOf(certificate: X509Certificate | undefined): number {
  return Date.parse(certificate?.validTo ?? "");
}
