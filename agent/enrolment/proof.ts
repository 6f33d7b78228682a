/** How a worker proves that it has its key: a challenge from the gateway, signed. */

import { createPublicKey, type KeyObject, sign } from "node:crypto";
import { type Identity, proofText } from "@legacygpu/shared/api/enrolment";
import { asLegacyGpuError, fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { GatewayApi } from "./gateway-api.ts";

export interface Prover {
  readonly api: GatewayApi;
  readonly key: KeyObject;
  readonly workerId: string;
}

/** A challenge can run out on a slow line. */
const TRIES = 2;

/** The raw public key, base64url. */
export function publicKeyOf(key: KeyObject): string {
  return String(createPublicKey(key).export({ format: "jwk" }).x);
}

/** @throws `worker_not_approved`, `worker_revoked`, `auth_invalid` for a worker that the gateway does not know, or why it cannot be asked. */
export async function proveIdentity(prover: Prover): Promise<Identity> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await proveOnce(prover);
    } catch (error) {
      const refusal = asLegacyGpuError(error);
      if (!isUnknown(refusal)) throw explain(refusal, prover.workerId);
      if (tries === TRIES) throw unknownWorker(refusal, prover.workerId);
    }
  }
}

async function proveOnce({ api, key, workerId }: Prover): Promise<Identity> {
  const challenge = await api.challenge(workerId);
  const signature = sign(null, Buffer.from(proofText(challenge, workerId)), key).toString("base64url");
  return api.identity({ worker_id: workerId, challenge, signature });
}

function isUnknown({ code }: LegacyGpuError): boolean {
  return code === "auth_invalid" || code === "worker_not_found";
}

function unknownWorker(refusal: LegacyGpuError, workerId: string): LegacyGpuError {
  const message = `The gateway does not know this worker (${workerId}) with the key that it has. Join again with a new join token.`;
  return fail("auth_invalid", message, { ...refusal.details, credential: "worker_identity" }, refusal);
}

function explain(error: LegacyGpuError, workerId: string): LegacyGpuError {
  switch (error.code) {
    case "worker_not_approved": {
      const message = `This worker waits for an operator, who must run: legacygpu worker approve ${workerId}`;
      return fail("worker_not_approved", message, { workerId }, error);
    }
    case "worker_revoked": {
      const message = `This worker (${workerId}) has been revoked. If that was not meant, join again with a new join token.`;
      return fail("worker_revoked", message, { workerId }, error);
    }
    default:
      return error;
  }
}
