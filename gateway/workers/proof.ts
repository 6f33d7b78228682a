/** Whether somebody has the private half of a worker's key. */

import { createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { type Prove, proofText } from "@legacygpu/shared/api/enrolment";

/** Stands in for the key of a worker that does not exist, so that it costs the same as one that does. */
const NOBODYS_KEY = String(generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" }).x);

/** @param publicKey 32 bytes, base64url; undefined: there is no such worker. */
export function isProof(publicKey: string | undefined, { challenge, worker_id, signature }: Prove): boolean {
  const key = createPublicKey({
    key: { kty: "OKP", crv: "Ed25519", x: publicKey ?? NOBODYS_KEY },
    format: "jwk",
  });
  const text = Buffer.from(proofText(challenge, worker_id));
  const isSigned = verify(null, text, key, Buffer.from(signature, "base64url"));
  return isSigned && publicKey !== undefined;
}
