/** Wire form of API keys on HTTP. */

import { z } from "zod";

/**
 * admin: everything; submit: send tasks and inference, cancel own ones; read: own tasks, cluster, models; models: push models;
 * worker: connect as an agent.
 */
export const SCOPES = ["admin", "submit", "read", "models", "worker"] as const;
export type Scope = (typeof SCOPES)[number];

export const createKeySchema = z.strictObject({
  name: z.string().min(1).max(64),
  scopes: z.array(z.enum(SCOPES)).min(1),
});
export type CreateKey = z.infer<typeof createKeySchema>;

export const keyJsonSchema = z.object({
  id: z.string(),
  kind: z.enum(["client", "worker"]),
  name: z.string(),
  scopes: z.array(z.enum(SCOPES)),
  created_at: z.string(),
  revoked_at: z.string().nullable(),
});
export type KeyJson = z.infer<typeof keyJsonSchema>;

/** Answer of `POST /keys`: the only time that the key itself is shown. */
export const createdKeySchema = keyJsonSchema.extend({ key: z.string() });
export const keyListSchema = z.object({ keys: z.array(keyJsonSchema) });
