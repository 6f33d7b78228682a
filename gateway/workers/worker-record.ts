/**
 * What is kept of an enrolled worker, and the moves between its states.
 *
 * | state    | it                                             | leaves it                                             |
 * | -------- | ---------------------------------------------- | ----------------------------------------------------- |
 * | pending  | is registered and gets no identity             | approve → approved; revoke → revoked                  |
 * | approved | gets identities for proofs of its key          | revoke → revoked                                      |
 * | revoked  | has no identity, and its key never gets another | final for this registration: it may enrol again, with a new token and a new key |
 *
 * Each move does nothing where there is nothing to change. A registration that is replaced begins anew.
 */

import type { EnrolledWorkerJson } from "@legacygpu/shared/api/enrolment";
import { fail } from "@legacygpu/shared/errors";
import { z } from "zod";
import type { Credential } from "../auth/credential.ts";

/** How long an identity lives on beside its successor: the answer may be lost, and a link may just be being dialled. */
export const OVERLAP_MS = 5 * 60_000;
/** Of one worker. More only come from a worker that renews in a circle. */
const MAX_IDENTITIES = 8;

const identitySchema = z.object({
  id: z.string(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  expiresAtMs: z.number(),
});
export type IdentityRecord = Readonly<z.infer<typeof identitySchema>>;

export const workerRecordSchema = z.object({
  id: z.string(),
  site: z.string(),
  /** Host name, for people. */
  host: z.string(),
  publicKey: z.string(),
  status: z.enum(["pending", "approved", "revoked"]),
  enrolledAtMs: z.number(),
  approvedAtMs: z.number().nullable(),
  revokedAtMs: z.number().nullable(),
  renewedAtMs: z.number().nullable(),
  /** Id of the join token that let it in. */
  joinToken: z.string(),
  /** Newest first. */
  identities: z.array(identitySchema),
});
export type WorkerRecord = Readonly<z.infer<typeof workerRecordSchema>>;

export interface Registration {
  readonly id: string;
  readonly site: string;
  readonly host: string;
  readonly publicKey: string;
  readonly joinToken: string;
}

export function registered(
  registration: Registration,
  approval: "automatic" | "manual",
  nowMs: number,
): WorkerRecord {
  const { id, site, host, publicKey, joinToken } = registration;
  const isApproved = approval === "automatic";
  return {
    id,
    site,
    host,
    publicKey,
    status: isApproved ? "approved" : "pending",
    enrolledAtMs: nowMs,
    approvedAtMs: isApproved ? nowMs : null,
    revokedAtMs: null,
    renewedAtMs: null,
    joinToken,
    identities: [],
  };
}

/** @throws `worker_revoked` */
export function approved(worker: WorkerRecord, nowMs: number): WorkerRecord {
  if (worker.status === "approved") return worker;
  if (worker.status === "pending") return { ...worker, status: "approved", approvedAtMs: nowMs };
  const message = `Worker ${worker.id} has been revoked: it must join again, with a new join token.`;
  throw fail("worker_revoked", message, { workerId: worker.id });
}

export function revoked(worker: WorkerRecord, nowMs: number): WorkerRecord {
  if (worker.status === "revoked") return worker;
  return { ...worker, status: "revoked", revokedAtMs: nowMs, identities: [] };
}

/** With a new identity. @throws `worker_not_approved`, `worker_revoked` */
export function renewed(
  worker: WorkerRecord,
  { id, hash }: Credential,
  { nowMs, lifeMs }: { readonly nowMs: number; readonly lifeMs: number },
): WorkerRecord {
  if (worker.status === "pending") throw fail("worker_not_approved", undefined, { workerId: worker.id });
  if (worker.status === "revoked") throw fail("worker_revoked", undefined, { workerId: worker.id });
  const older = worker.identities
    .filter(({ expiresAtMs }) => expiresAtMs > nowMs)
    .map((identity) => ({ ...identity, expiresAtMs: Math.min(identity.expiresAtMs, nowMs + OVERLAP_MS) }));
  const newest = { id, sha256: hash.toString("hex"), expiresAtMs: nowMs + lifeMs };
  return { ...worker, renewedAtMs: nowMs, identities: [newest, ...older].slice(0, MAX_IDENTITIES) };
}

export function workerJson(worker: WorkerRecord, isConnected: boolean): EnrolledWorkerJson {
  return {
    id: worker.id,
    site: worker.site,
    host: worker.host,
    status: worker.status,
    enrolled_at: new Date(worker.enrolledAtMs).toISOString(),
    approved_at: timeText(worker.approvedAtMs),
    revoked_at: timeText(worker.revokedAtMs),
    renewed_at: timeText(worker.renewedAtMs),
    identity_expires_at: timeText(worker.identities[0]?.expiresAtMs ?? null),
    is_connected: isConnected,
    join_token: worker.joinToken,
  };
}

function timeText(atMs: number | null): string | null {
  return atMs === null ? null : new Date(atMs).toISOString();
}
