/**
 * Wire form of enrolment on HTTP: join tokens, the workers that they let in, and how a worker proves itself.
 *
 * A worker enrols once (`POST /agent/enrolments`, with the secret of a join token and the public half of a key that never leaves
 * it). From then on it asks for a challenge (`POST /agent/challenges`), signs it (`POST /agent/identities`), and gets an identity: a bearer
 * credential (`lgi_…`) for a day, renewed the same way at two thirds of its life, or whenever it comes back, however late.
 */

import { z } from "zod";
import { identifierSchema } from "./keys.ts";

/** Base64url without padding. */
const base64url = (bytes: number) =>
  z.string().regex(new RegExp(`^[A-Za-z0-9_-]{${Math.ceil((bytes * 4) / 3)}}$`), {
    error: `${bytes} bytes in base64url without padding`,
  });

/** An Ed25519 public key: its 32 raw bytes. */
export const publicKeySchema = base64url(32);
/** An Ed25519 signature. */
export const signatureSchema = base64url(64);

/** What an agent signs to prove that it has its key; `challenge` and `workerId` as they travelled. */
export function proofText(challenge: string, workerId: string): string {
  return `legacygpu worker proof\n${challenge}\n${workerId}`;
}

export const createJoinTokenSchema = z.strictObject({
  site: identifierSchema,
  /** Seconds. Default: half an hour; at most a week. */
  ttl: z.int().min(60).max(604_800).default(1800),
  /** How many workers may join with it. */
  uses: z.int().min(1).max(10_000).default(1),
  /** `https://HOST:PORT` at which workers reach this gateway. Default: the address of this request. */
  url: z.url({ protocol: /^https$/ }).optional(),
});
export type CreateJoinToken = z.input<typeof createJoinTokenSchema>;

export const joinTokenJsonSchema = z.object({
  id: z.string(),
  site: z.string(),
  created_at: z.string(),
  expires_at: z.string(),
  uses: z.int(),
  uses_left: z.int(),
  revoked_at: z.string().nullable(),
});
export type JoinTokenJson = z.infer<typeof joinTokenJsonSchema>;

/** Answer of `POST /join-tokens`: the only time that the token is shown. */
export const createdJoinTokenSchema = joinTokenJsonSchema.extend({ token: z.string() });
export const joinTokenListSchema = z.object({ join_tokens: z.array(joinTokenJsonSchema) });

/** Body of `POST /agent/enrolments`; the join token's secret (`lgj_…`) is in the `Authorization` header. */
export const enrolSchema = z.strictObject({
  /** Wanted; refused when another live worker has it. */
  worker_id: identifierSchema,
  public_key: publicKeySchema,
  /** Host name, for people. */
  host: z.string().max(253),
});
export type Enrol = z.infer<typeof enrolSchema>;

export const enrolledSchema = z.object({
  worker_id: z.string(),
  site: z.string(),
  /** pending: an operator has yet to approve it; until then `/agent/identities` answers 403 `worker_not_approved`. */
  status: z.enum(["approved", "pending"]),
});
export type Enrolled = z.infer<typeof enrolledSchema>;

/** Body of `POST /agent/challenges`. Every worker id gets a challenge, known or not. */
export const challengeRequestSchema = z.strictObject({ worker_id: identifierSchema });
export const challengeSchema = z.object({
  challenge: z.string(),
  /** Seconds; good for one try. */
  expires_in: z.int(),
});

/** Body of `POST /agent/identities`. */
export const proveSchema = z.strictObject({
  worker_id: identifierSchema,
  challenge: z.string().max(200),
  /** Over {@link proofText}. */
  signature: signatureSchema,
});
export type Prove = z.infer<typeof proveSchema>;

export const identitySchema = z.object({
  /** `lgi_…`: the bearer credential of the agent link and of what travels beside it. */
  identity: z.string(),
  /** Seconds: durations need no agreement of clocks. */
  expires_in: z.int(),
  site: z.string(),
  /** The CAs to pin from now on, PEM; two while they are being changed. */
  ca_pem: z.string(),
  /** The gateway's clock, so that an agent can say that its own is wrong. */
  server_time: z.string(),
});
export type Identity = z.infer<typeof identitySchema>;

/** A worker that has enrolled, connected or not. */
export const enrolledWorkerJsonSchema = z.object({
  id: z.string(),
  site: z.string(),
  host: z.string(),
  status: z.enum(["approved", "pending", "revoked"]),
  enrolled_at: z.string(),
  approved_at: z.string().nullable(),
  revoked_at: z.string().nullable(),
  /** When its identity was renewed last; null: never. */
  renewed_at: z.string().nullable(),
  identity_expires_at: z.string().nullable(),
  is_connected: z.boolean(),
  join_token: z.string(),
});
export type EnrolledWorkerJson = z.infer<typeof enrolledWorkerJsonSchema>;
export const enrolledWorkerListSchema = z.object({ workers: z.array(enrolledWorkerJsonSchema) });
