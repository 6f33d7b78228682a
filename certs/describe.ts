/** What a person, or a pin, needs to know of the certificates in a folder. */

import { createHash, type X509Certificate } from "node:crypto";
import { join } from "node:path";
import { hostsOf } from "./hosts.ts";
import { caFilesIn, readCa } from "./stored-ca.ts";
import { readCertificate } from "./stored-pair.ts";

export interface CertificateFacts {
  readonly role: "ca" | "next ca" | "server";
  readonly file: string;
  readonly subject: string;
  /** Host names and addresses that it is for. */
  readonly names: readonly string[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** SHA-256 of the public key with its algorithm (SubjectPublicKeyInfo), base64: what a pin compares. It outlives a renewal. */
  readonly spkiSha256: string;
}

/** Of `ca.pem` and `server.pem`, as far as they are there. @throws `certificate_invalid`, naming a damaged file. */
export async function describeCertificates(dir: string): Promise<CertificateFacts[]> {
  const caFiles = caFilesIn(dir);
  const serverFile = join(dir, "server.pem");
  const ca = await readCa(caFiles);
  const server = await readCertificate(serverFile, join(dir, "server.key"));
  const found: CertificateFacts[] = [];
  if (ca !== undefined) found.push(factsOf("ca", caFiles.certFile, ca.signer.certificate));
  if (ca?.successor !== undefined) found.push(factsOf("next ca", caFiles.certFile, ca.successor.certificate));
  if (server !== undefined) found.push(factsOf("server", serverFile, server.certificate));
  return found;
}

function factsOf(
  role: CertificateFacts["role"],
  file: string,
  certificate: X509Certificate,
): CertificateFacts {
  return {
    role,
    file,
    subject: certificate.subject.replaceAll("\n", ", "),
    names: hostsOf(certificate.subjectAltName),
    notBeforeMs: Date.parse(certificate.validFrom),
    notAfterMs: Date.parse(certificate.validTo),
    spkiSha256: spkiSha256(certificate),
  };
}

function spkiSha256({ publicKey }: X509Certificate): string {
  return createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest("base64");
}
