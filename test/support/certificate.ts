/** A throw-away certificate for a server on loopback, under a throw-away CA. */

import { ensureCertificates } from "../../certs/index.ts";

export interface Certificate {
  readonly keyFile: string;
  readonly certFile: string;
  /** What a client must trust to believe the certificate. */
  readonly caPem: string;
}

/** Writes the files into `dir`; valid for localhost and 127.0.0.1. */
export async function makeCertificate(dir: string): Promise<Certificate> {
  const clock = { now: () => Date.now() };
  const { keyFile, certFile, caPem } = await ensureCertificates({ dir, hosts: [], clock });
  return { keyFile, certFile, caPem };
}
