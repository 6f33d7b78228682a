/**
 * Replaces a CA that clients and agents pin without a moment in which one of them must trust what it does not know.
 *
 * | step                               | `ca.pem` | the server's issuer | who can connect       |
 * | ---------------------------------- | -------- | ------------------- | --------------------- |
 * | before                             | old      | old                 | who pins old          |
 * | {@link startCaChange}              | old, new | old                 | who pins old, or both |
 * | everybody learns the new `ca.pem`  | old, new | old                 | who pins old, or both |
 * | {@link finishCaChange}             | new      | new                 | who pins both, or new |
 *
 * A crash between two writes leaves a folder that works: keys are written before what needs them, and removed last.
 */

import type { Clock } from "@legacygpu/shared/clock";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import { writeFileAtomic } from "@legacygpu/shared/files";
import { ensureCertificates } from "./ensure-certificates.ts";
import { issueCa, newPrivateKey } from "./issue.ts";
import { caFilesIn, readCa, type StoredCa, writeCaKeys } from "./stored-ca.ts";

export interface CaChangeOptions {
  readonly dir: string;
  readonly clock: Pick<Clock, "now">;
}

/** Makes the new CA and hands out both. @throws `certificate_invalid` when there is no CA, or a change is under way. */
export async function startCaChange({ dir, clock }: CaChangeOptions): Promise<void> {
  const files = caFilesIn(dir);
  const { signer, successor, bundlePem } = await storedCa(dir);
  if (successor !== undefined) {
    throw fail(
      "certificate_invalid",
      `${files.certFile} holds two CAs: a change is under way. Finish it first.`,
      {
        file: files.certFile,
      },
    );
  }
  const key = newPrivateKey();
  const pem = await issueCa(key, clock.now());
  await writeCaKeys(files, [signer.key, key]);
  await writeFileAtomic(files.certFile, `${bundlePem.trimEnd()}\n${pem}`);
}

/** Issues from the new CA and forgets the old one. @throws `certificate_invalid` when no change is under way, or its key is missing. */
export async function finishCaChange({ dir, clock }: CaChangeOptions): Promise<void> {
  const files = caFilesIn(dir);
  const { successor } = await storedCa(dir);
  if (successor === undefined) throw notUnderWay(files.certFile);
  if (successor.key === undefined) {
    const message = `The private key of the new CA is missing from ${files.keyFile}. Put it back.`;
    throw fail("certificate_invalid", message, { file: files.keyFile });
  }
  await writeFileAtomic(files.certFile, successor.certificate.toString());
  await ensureCertificates({ dir, hosts: [], clock });
  await writeCaKeys(files, [successor.key]);
}

async function storedCa(dir: string): Promise<StoredCa> {
  const files = caFilesIn(dir);
  const stored = await readCa(files);
  if (stored !== undefined) return stored;
  throw fail("certificate_invalid", `There is no CA in ${dir}. The first start of a gateway makes one.`, {
    dir,
  });
}

function notUnderWay(file: string): LegacyGpuError {
  return fail("certificate_invalid", `${file} holds one CA: no change is under way. Start one first.`, {
    file,
  });
}
