/** Wire form of deployments on HTTP: how many workers are to have a model loaded, and how it stands with that. */

import { z } from "zod";
import { modelVersionSchema, PROVIDERS } from "../manifest.ts";

export const MAX_REPLICAS = 1000;
export const DEFAULT_IDLE_TTL_SECONDS = 600;

const siteSchema = z.string().min(1).max(256);

/** Body of `PUT /models/{name}/deployment`. */
export const putDeploymentSchema = z
  .strictObject({
    /** Or an alias, which may move later; absent: the newest, whichever that is. */
    version: modelVersionSchema.optional(),
    /** Workers that always have it loaded; 0: none while nobody asks for it. */
    min_replicas: z.int().min(0).max(MAX_REPLICAS).default(1),
    /** Default: as many as `min_replicas`, but at least one. */
    max_replicas: z.int().min(1).max(MAX_REPLICAS).optional(),
    /** After so long without a task that needed them, replicas above `min_replicas` are unloaded. */
    idle_ttl_seconds: z.number().min(1).max(604_800).default(DEFAULT_IDLE_TTL_SECONDS),
    /** Only on workers that have one of these. Default: whatever the manifest allows. */
    providers: z.array(z.enum(PROVIDERS)).min(1).max(PROVIDERS.length).optional(),
    /** Only there. Default: everywhere the key may go. */
    sites: z.array(siteSchema).min(1).max(64).optional(),
  })
  .refine(({ min_replicas: min, max_replicas: max }) => max === undefined || max >= min, {
    path: ["max_replicas"],
    message: "must not be below min_replicas",
  });
export type PutDeployment = z.input<typeof putDeploymentSchema>;

/** Where the time between the order to load and the first task went. */
export const coldStartSchema = z.object({
  /** As the gateway saw it. */
  total_ms: z.number(),
  /** As far as the worker tells: fetching the file, creating the session, and what is computed before the first task. */
  transfer_ms: z.number().nullable(),
  load_ms: z.number().nullable(),
  warm_up_ms: z.number().nullable(),
});
export type ColdStartJson = z.infer<typeof coldStartSchema>;

export const replicaSchema = z.object({
  worker: z.string(),
  site: z.string(),
  version: z.string(),
  /** retiring: it gets no more tasks, and unloads the model when it has finished those that it holds. */
  state: z.enum(["loading", "ready", "retiring"]),
  /** Of the download, 0 to 1, while there is one. */
  progress: z.number().nullable(),
  /** What computes it there. */
  provider: z.string().nullable(),
  in_flight: z.number(),
  since: z.string(),
  /** Null when it was loaded already, or is not yet. */
  cold_start: coldStartSchema.nullable(),
});

export const deploymentJsonSchema = z.object({
  model: z.string(),
  /** The version that is meant now; null when it is gone. */
  version: z.string().nullable(),
  /** As it was asked for: a version or an alias; null: the newest. */
  wanted_version: z.string().nullable(),
  min_replicas: z.number(),
  max_replicas: z.number(),
  idle_ttl_seconds: z.number(),
  providers: z.array(z.string()).nullable(),
  sites: z.array(z.string()).nullable(),
  /** idle: nobody has it loaded, and nobody asks for it. unavailable: it is wanted and nobody can have it, see `reason`. */
  state: z.enum(["ready", "loading", "idle", "unavailable"]),
  reason: z.string().nullable(),
  /** How many replicas are wanted now. */
  target_replicas: z.number(),
  ready_replicas: z.number(),
  waiting_tasks: z.number(),
  /** How long the last of these waits by the present throughput; null: that is not known. */
  estimated_wait_ms: z.number().nullable(),
  replicas: z.array(replicaSchema),
  /** Workers that could not load it lately, and when they are asked again. */
  failures: z.array(
    z.object({ worker: z.string(), reason: z.string(), attempts: z.number(), retry_in_ms: z.number() }),
  ),
  /** The latest one. */
  cold_start: coldStartSchema.nullable(),
  created_at: z.string(),
  updated_at: z.string(),
});
export type DeploymentJson = z.infer<typeof deploymentJsonSchema>;

export const deploymentListSchema = z.object({ deployments: z.array(deploymentJsonSchema) });
