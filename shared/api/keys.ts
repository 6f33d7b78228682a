/** Wire form of API keys on HTTP. */

import { z } from "zod";

/**
 * admin: everything; submit: send tasks and inference, cancel own ones; read: own tasks, cluster, models; models: push models;
 * worker: connect as an agent.
 */
export const SCOPES = ["admin", "submit", "read", "models", "worker"] as const;
export type Scope = (typeof SCOPES)[number];

export const identifierSchema = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, {
  error: "1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit",
});

/** One name or several, at most 100. */
const namesSchema = z.array(identifierSchema).min(1).max(100);

export const createKeySchema = z.strictObject({
  name: z.string().min(1).max(64),
  scopes: z.array(z.enum(SCOPES)).min(1),
  /** Keys of one tenant see each other's tasks, and share its quotas. Absent: the key is a tenant of its own. */
  tenant: identifierSchema.optional(),
  /** Life in seconds, 60 to ten years; absent: it ends only when it is revoked. */
  expires_in: z.int().min(60).max(315_360_000).optional(),
  /** CIDR: the only addresses that it may be used from. */
  networks: z
    .array(z.union([z.cidrv4(), z.cidrv6()]))
    .min(1)
    .max(100)
    .optional(),
  /** The only models that it may use. */
  models: namesSchema.optional(),
  /** The only sites that its tasks may run at; of a worker key: that its agents may be at. */
  sites: namesSchema.optional(),
});
export type CreateKey = z.infer<typeof createKeySchema>;

/** Body of `POST /keys/{id}/rotate`. */
export const rotateKeySchema = z.strictObject({
  /** Seconds that the old key lives on beside the new one, 0 to 30 days. Default: a day. */
  grace: z.int().min(0).max(2_592_000).default(86_400),
});
export type RotateKey = z.input<typeof rotateKeySchema>;

export const keyJsonSchema = z.object({
  id: z.string(),
  kind: z.enum(["client", "worker"]),
  name: z.string(),
  scopes: z.array(z.enum(SCOPES)),
  tenant: z.string(),
  created_at: z.string(),
  expires_at: z.string().nullable(),
  revoked_at: z.string().nullable(),
  /** To the minute; null: never. */
  last_used_at: z.string().nullable(),
  networks: z.array(z.string()).nullable(),
  models: z.array(z.string()).nullable(),
  sites: z.array(z.string()).nullable(),
  /** Id of the key that this one was rotated from. */
  replaces: z.string().nullable(),
  /** config: it is written in the configuration and ends when it is taken out of it. */
  source: z.enum(["issued", "config"]),
});
export type KeyJson = z.infer<typeof keyJsonSchema>;

/** Answer of `POST /keys` and `POST /keys/{id}/rotate`: the only time that the key itself is shown. */
export const createdKeySchema = keyJsonSchema.extend({ key: z.string() });
export const keyListSchema = z.object({ keys: z.array(keyJsonSchema) });
