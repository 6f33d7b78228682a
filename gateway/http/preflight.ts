/** Explains, before or after the server library has failed without a word, why it can not listen. */

import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { asLegacyGpuError, fail, type LegacyGpuError } from "@legacygpu/shared/errors";

interface CertificateFiles {
  readonly keyFile: string;
  readonly certFile: string;
}

/** Throws `certificate_invalid`, naming the file, unless both files can be read and belong together. */
export function checkCertificate({ keyFile, certFile }: CertificateFiles): void {
  const certificate = parse(certFile, "certificate", (pem) => new X509Certificate(pem));
  const key: KeyObject = parse(keyFile, "private key", (pem) => createPrivateKey(pem));
  if (certificate.checkPrivateKey(key)) return;
  throw fail(
    "certificate_invalid",
    `The key in ${keyFile} is not the one of the certificate in ${certFile}.`,
    {
      keyFile,
      certFile,
    },
  );
}

function parse<Parsed>(file: string, what: string, parsePem: (pem: Buffer) => Parsed): Parsed {
  try {
    return parsePem(readFileSync(file));
  } catch (cause) {
    const { message } = asLegacyGpuError(cause);
    throw fail("certificate_invalid", `${file} is not a ${what} in PEM form: ${message}`, { file }, cause);
  }
}

/** Tries the same with the standard library, which says what is wrong. */
export async function explainListenFailure(host: string, port: number): Promise<LegacyGpuError> {
  const cause = await probe(host, port);
  switch (cause?.code) {
    case "EADDRINUSE":
      return portInUse(host, port, cause);
    case "EACCES":
      return fail("config_invalid", `This user may not open port ${port} on ${host}.`, { host, port }, cause);
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return fail("config_invalid", `${host} is not an address of this machine.`, { host, port }, cause);
    case undefined:
      // It was taken a moment ago.
      return portInUse(host, port, cause);
    default:
      return fail("internal", `Cannot listen on ${host}:${port}: ${cause?.message}`, { host, port }, cause);
  }
}

function portInUse(host: string, port: number, cause: unknown): LegacyGpuError {
  const message = `Port ${port} on ${host} is in use. Stop the program that uses it, or choose another port.`;
  return fail("port_in_use", message, { host, port }, cause);
}

function probe(host: string, port: number): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", resolve);
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}
