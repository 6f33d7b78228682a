/** What the command line needs of the package that makes certificates. It comes with the gateway. */

import type { Clock } from "@legacygpu/shared/clock";

export interface CertificateFacts {
  readonly role: "ca" | "next ca" | "server";
  readonly file: string;
  readonly subject: string;
  readonly names: readonly string[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** SHA-256 of the SubjectPublicKeyInfo, base64. */
  readonly spkiSha256: string;
}

interface CaChangeOptions {
  readonly dir: string;
  readonly clock: Pick<Clock, "now">;
}

/** Work on the private CA of a gateway, on the gateway's own machine. */
export interface CertificateTools {
  describeCertificates(dir: string): Promise<CertificateFacts[]>;
  startCaChange(options: CaChangeOptions): Promise<void>;
  finishCaChange(options: CaChangeOptions): Promise<void>;
}
