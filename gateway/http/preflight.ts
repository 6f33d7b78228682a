/** Explains, before or after the server library has failed without a word, why it can not listen. */

import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect, createServer, isIPv4 } from "node:net";
import { asLegacyGpuError, fail, type LegacyGpuError } from "@legacygpu/shared/errors";

/** One cannot connect to "any address", but to the machine itself. */
const ANY_ADDRESS: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
const CONNECT_LIMIT_MS = 1000;

/** PEM files; the certificate may be followed by those of intermediate CAs. */
export interface CertificateFiles {
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

/**
 * Refuses a port that somebody listens on.
 *
 * The server library has two ways to listen: one shares a port with whoever has it already, so that each gets half of the connections; the
 * other cannot take a port back for a minute after a restart, until the system has forgotten the last connections of the process before.
 * With this check before it, the first way is safe. Two processes that start in the same moment can still slip through.
 *
 * @throws `port_in_use`
 */
export async function refuseTakenPort(host: string, port: number): Promise<void> {
  if (port !== 0 && (await isAnswered(host, port))) throw portInUse(host, port);
}

function isAnswered(host: string, port: number): Promise<boolean> {
  const target = ANY_ADDRESS[host] ?? host;
  return new Promise((resolve) => {
    const socket = connect({ host: target, port, timeout: CONNECT_LIMIT_MS });
    const settle = (answered: boolean): void => {
      socket.destroy();
      resolve(answered);
    };
    socket.once("connect", () => settle(true));
    // It listens, but has no time to answer.
    socket.once("timeout", () => settle(ANY_ADDRESS[host] !== undefined || isLoopback(host)));
    socket.once("error", () => settle(false));
  });
}

export const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));

/** Keys and inputs would travel in the open. @throws `config_invalid` unless `host` is this machine only. */
export function refusePlainHttp(host: string): void {
  if (isLoopback(host)) return;
  const message = `Without TLS the gateway listens on loopback only, and ${host || "any address"} is not. Listen on 127.0.0.1, or use TLS.`;
  throw fail("config_invalid", message, { host });
}

/** Tries the same with the standard library, which says what is wrong. */
export async function explainListenFailure(host: string, port: number): Promise<LegacyGpuError> {
  const cause = await probe(host, port);
  return cause === undefined ? portInUse(host, port) : explain(cause, host, port);
}

function explain(cause: NodeJS.ErrnoException, host: string, port: number): LegacyGpuError {
  switch (cause.code) {
    case "EADDRINUSE":
      return portInUse(host, port, cause);
    case "EACCES":
      return fail("config_invalid", `This user may not open port ${port} on ${host}.`, { host, port }, cause);
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return fail("config_invalid", `${host} is not an address of this machine.`, { host, port }, cause);
    default:
      return fail("internal", `Cannot listen on ${host}:${port}: ${cause.message}`, { host, port }, cause);
  }
}

function portInUse(host: string, port: number, cause?: unknown): LegacyGpuError {
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
