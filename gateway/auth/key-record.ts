/** What is kept of a key, in every version of the key file. */

import { type CreateKey, createKeySchema, SCOPES } from "@legacygpu/shared/api/keys";
import { z } from "zod";
import type { Credential, CredentialKind } from "./credential.ts";

/** The credentials that are kept here. */
export type KeyKind = Extract<CredentialKind, "client" | "worker">;

const firstSchema = z.strictObject({
  id: z.string(),
  kind: z.enum(["client", "worker"]),
  name: z.string(),
  scopes: z.array(z.enum(SCOPES)),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  createdAtMs: z.number(),
  revokedAtMs: z.number().nullable(),
});

const recordSchema = firstSchema.extend({
  tenant: z.string(),
  expiresAtMs: z.number().nullable(),
  /** How long it was made for. Its end can come sooner than that, when it is rotated; that of its successor does not. */
  lifeMs: z.number().nullable(),
  networks: createKeySchema.shape.networks.unwrap().nullable(),
  models: z.array(z.string()).nullable(),
  sites: z.array(z.string()).nullable(),
  replaces: z.string().nullable(),
  lastUsedAtMs: z.number().nullable(),
});
export type KeyRecord = z.infer<typeof recordSchema>;

/** Version 1 knew neither tenants nor ends nor restrictions. */
export const keyFileSchema = z
  .discriminatedUnion("version", [
    z.strictObject({ version: z.literal(1), keys: z.array(firstSchema) }),
    z.strictObject({ version: z.literal(2), keys: z.array(recordSchema) }),
  ])
  .transform((file): KeyRecord[] => (file.version === 1 ? file.keys.map(upgraded) : file.keys));

export function keyFileText(records: readonly KeyRecord[]): string {
  return `${JSON.stringify({ version: 2, keys: records }, null, 2)}\n`;
}

function upgraded(first: z.infer<typeof firstSchema>): KeyRecord {
  return {
    ...first,
    tenant: first.id,
    expiresAtMs: null,
    lifeMs: null,
    networks: null,
    models: null,
    sites: null,
    replaces: null,
    lastUsedAtMs: null,
  };
}

export function newRecord(
  { id, hash }: Credential,
  kind: KeyKind,
  wanted: CreateKey,
  nowMs: number,
): KeyRecord {
  const lifeMs = wanted.expires_in === undefined ? null : wanted.expires_in * 1000;
  return {
    id,
    kind,
    name: wanted.name,
    scopes: [...new Set(wanted.scopes)],
    sha256: hash.toString("hex"),
    createdAtMs: nowMs,
    revokedAtMs: null,
    tenant: wanted.tenant ?? id,
    expiresAtMs: endOf(lifeMs, nowMs),
    lifeMs,
    networks: wanted.networks ?? null,
    models: wanted.models ?? null,
    sites: wanted.sites ?? null,
    replaces: null,
    lastUsedAtMs: null,
  };
}

/** The same key again: tenant, permissions, restrictions, and as long a life, which begins now. */
export function successorOf(old: KeyRecord, { id, hash }: Credential, nowMs: number): KeyRecord {
  return {
    ...old,
    id,
    sha256: hash.toString("hex"),
    createdAtMs: nowMs,
    expiresAtMs: endOf(old.lifeMs, nowMs),
    replaces: old.id,
    lastUsedAtMs: null,
  };
}

function endOf(lifeMs: number | null, nowMs: number): number | null {
  return lifeMs === null ? null : nowMs + lifeMs;
}
