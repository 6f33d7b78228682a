/** Wire form of the audit log on HTTP. */

import { z } from "zod";

export const AUDIT_OUTCOMES = ["done", "refused", "failed"] as const;

export const auditEntrySchema = z.object({
  /** 1 for the first entry, without gaps. */
  seq: z.int(),
  at: z.string(),
  /** What was done or tried: `key.create`, `key.revoke`, `auth.refused`, `worker.enrol`, … */
  action: z.string(),
  /** Public id of the credential, `gateway` for what it does by itself, empty when nobody was recognised. */
  actor: z.string(),
  actor_name: z.string(),
  tenant: z.string(),
  /** What it was done to: id of a key, worker, model, task, … */
  target: z.string(),
  outcome: z.enum(AUDIT_OUTCOMES),
  address: z.string(),
  request_id: z.string(),
  /** Never a secret. */
  details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.array(z.string())])),
  /** SHA-256 over this entry without the field, which includes `previous`. */
  hash: z.string(),
  /** `hash` of the entry before; 64 zeros for the first. */
  previous: z.string(),
});
export type AuditEntry = z.infer<typeof auditEntrySchema>;

/** Query of `GET /audit`: newest first. */
export const auditQuerySchema = z.strictObject({
  action: z.string().max(64).optional(),
  actor: z.string().max(128).optional(),
  target: z.string().max(256).optional(),
  outcome: z.enum(AUDIT_OUTCOMES).optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  /** Only entries before this `seq`. */
  before: z.coerce.number().int().min(1).optional(),
});
export type AuditFilter = z.output<typeof auditQuerySchema>;
export type AuditQuery = Partial<AuditFilter>;

export const auditPageSchema = z.object({
  entries: z.array(auditEntrySchema),
  /** For `before`; null: these were the last. */
  next: z.int().nullable(),
});
export type AuditPage = z.infer<typeof auditPageSchema>;

/** Answer of `GET /audit/verification`. */
export const auditVerificationSchema = z.object({
  is_intact: z.boolean(),
  entries: z.int(),
  /** Hash of the newest entry: kept elsewhere, it proves later that nothing before it was changed. */
  head: z.string(),
  /** What is wrong and where; null when intact. */
  damage: z.object({ seq: z.int(), what: z.string() }).nullable(),
});
export type AuditVerification = z.infer<typeof auditVerificationSchema>;
