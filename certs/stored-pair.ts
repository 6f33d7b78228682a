/** Reads a certificate and its private key from disk and says plainly what is wrong with them. */

import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";

export interface KeyPair {
  readonly pem: string;
  readonly certificate: X509Certificate;
  /** Absent when its file is. */
  readonly key: KeyObject | undefined;
}

/** @returns undefined when there is no certificate. */
export async function readCertificate(certFile: string, keyFile: string): Promise<KeyPair | undefined> {
  const pem = await readIfThere(certFile);
  if (pem === undefined) return undefined;
  const certificate = parse(certFile, () => new X509Certificate(pem));
  const key = await readPrivateKey(keyFile);
  if (key !== undefined && !certificate.checkPrivateKey(key)) {
    throw damaged(keyFile, `does not belong to ${certFile}`);
  }
  return { pem, certificate, key };
}

/** @returns undefined when there is no key. */
export async function readPrivateKey(keyFile: string): Promise<KeyObject | undefined> {
  return (await readPrivateKeys(keyFile))[0];
}

/** All keys in the file, in their order. */
export async function readPrivateKeys(keyFile: string): Promise<KeyObject[]> {
  const pem = await readIfThere(keyFile);
  if (pem === undefined) return [];
  const blocks = pem
    .split(/(?=^-----BEGIN )/m)
    .filter((block) => /^-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(block));
  return parse(keyFile, () => (blocks.length === 0 ? [pem] : blocks).map((block) => createPrivateKey(block)));
}

export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw damaged(file, `cannot be read (${(error as Error).message})`, error);
  }
}

export function parse<Parsed>(file: string, read: () => Parsed): Parsed {
  try {
    return read();
  } catch (error) {
    throw damaged(file, "is not a PEM file that can be used", error);
  }
}

export function damaged(file: string, what: string, cause?: unknown): LegacyGpuError {
  const remedy = /\bserver\.(pem|key)$/.test(file)
    ? "Restore it, or delete server.pem and server.key beside it and start again."
    : "Restore it, or delete its folder and start again; then every client and agent needs the new ca.pem.";
  return fail("certificate_invalid", `${file} ${what}. ${remedy}`, { file }, cause);
}
