/**
 * The CA on disk. `ca.pem` holds its certificate, and while it is being changed a second one, its successor's; `ca.key` holds the private
 * key of each. Which key belongs to which certificate is found by trying, so that the two files need not change in the same moment.
 */

import type { KeyObject, X509Certificate } from "node:crypto";
import { join } from "node:path";
import { writeFileAtomic } from "@legacygpu/shared/files";
import { certificatesIn } from "@legacygpu/shared/pem";
import { privateKeyPem } from "./issue.ts";
import { damaged, parse, readIfThere, readPrivateKeys } from "./stored-pair.ts";

export interface StoredCa {
  /** What clients and agents pin: all of `ca.pem`. */
  readonly bundlePem: string;
  /** Its certificate issues. */
  readonly signer: CaPair;
  /** Only while the CA is being changed. */
  readonly successor: CaPair | undefined;
}

export interface CaPair {
  readonly certificate: X509Certificate;
  /** Absent when it was moved away. */
  readonly key: KeyObject | undefined;
}

export interface CaFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

export function caFilesIn(dir: string): CaFiles {
  return { certFile: join(dir, "ca.pem"), keyFile: join(dir, "ca.key") };
}

/** @returns undefined when there is no CA. @throws `certificate_invalid`, naming the file. */
export async function readCa({ certFile, keyFile }: CaFiles): Promise<StoredCa | undefined> {
  // First the keys: a change that ends right now removes one only after its certificate.
  const keys = await readPrivateKeys(keyFile);
  const bundlePem = await readIfThere(certFile);
  if (bundlePem === undefined) return undefined;
  const pairs = parse(certFile, () => certificatesIn(bundlePem)).map((certificate) => ({
    certificate,
    key: keys.find((key) => certificate.checkPrivateKey(key)),
  }));
  if (keys.length > 0 && pairs.every(({ key }) => key === undefined)) {
    throw damaged(keyFile, `does not belong to ${certFile}`);
  }
  const [signer, successor] = pairs;
  if (signer === undefined) throw damaged(certFile, "holds no certificate");
  return { bundlePem, signer, successor };
}

export async function writeCaKeys(
  { keyFile }: CaFiles,
  keys: readonly (KeyObject | undefined)[],
): Promise<void> {
  const pem = keys.map((key) => (key === undefined ? "" : privateKeyPem(key))).join("");
  await writeFileAtomic(keyFile, pem, { mode: 0o600 });
}
