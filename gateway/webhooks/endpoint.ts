/**
 * A registered webhook endpoint and the moves between its states.
 *
 * active    messages are sent
 * disabled  nothing but tests is sent, and what falls due fails: its receiver answered 410, nothing has got through for days, or the key that
 *           vouched for it was revoked
 *
 * active → disabled by `disable`, disabled → active by `enable`; each does nothing where there is nothing to change.
 */

import type { WebhookJson } from "@legacygpu/shared/api/webhooks";
import { z } from "zod";
import { WEBHOOK_EVENTS } from "../tasks/record.ts";
import { newSecret } from "./signature.ts";

export const SECRET_OVERLAP_MS = 24 * 3_600_000;

export const endpointSchema = z.object({
  id: z.string(),
  /** The tenant whose tasks it is told of. */
  owner: z.string(),
  /** Id of the key that registered it, or enabled it last. Absent in what earlier gateways stored. */
  vouchedBy: z.string().optional(),
  url: z.string(),
  /** Of tasks that do not name events themselves. */
  events: z.array(z.enum(WEBHOOK_EVENTS)),
  description: z.string().optional(),
  /** Kept as it is: whoever signs needs it. */
  secret: z.string(),
  previousSecret: z.string().optional(),
  previousSecretUntilMs: z.number().optional(),
  createdAtMs: z.number(),
  state: z.enum(["active", "disabled"]),
  disabledReason: z.string().optional(),
  /** Of the first try that failed since anything got through. */
  failingSinceMs: z.number().optional(),
});
export type Endpoint = Readonly<z.infer<typeof endpointSchema>>;

/** What signs now, the newest first. */
export function liveSecrets(endpoint: Endpoint, nowMs: number): string[] {
  const { secret, previousSecret, previousSecretUntilMs = 0 } = endpoint;
  return previousSecret === undefined || nowMs >= previousSecretUntilMs ? [secret] : [secret, previousSecret];
}

export function rotated(endpoint: Endpoint, nowMs: number): Endpoint {
  return {
    ...endpoint,
    secret: newSecret(),
    previousSecret: endpoint.secret,
    previousSecretUntilMs: nowMs + SECRET_OVERLAP_MS,
  };
}

/** @param keyId whose word it is that messages may go there */
export function enabled(endpoint: Endpoint, keyId: string): Endpoint {
  if (endpoint.state === "active") return endpoint;
  return {
    ...endpoint,
    vouchedBy: keyId,
    state: "active",
    disabledReason: undefined,
    failingSinceMs: undefined,
  };
}

export function disabled(endpoint: Endpoint, reason: string): Endpoint {
  return endpoint.state === "disabled"
    ? endpoint
    : { ...endpoint, state: "disabled", disabledReason: reason };
}

export function failing(endpoint: Endpoint, nowMs: number): Endpoint {
  return endpoint.failingSinceMs === undefined ? { ...endpoint, failingSinceMs: nowMs } : endpoint;
}

export function succeeding(endpoint: Endpoint): Endpoint {
  return endpoint.failingSinceMs === undefined ? endpoint : { ...endpoint, failingSinceMs: undefined };
}

/** Without its secrets. */
export function endpointJson(endpoint: Endpoint): WebhookJson {
  return {
    id: endpoint.id,
    object: "webhook",
    owner: endpoint.owner,
    url: endpoint.url,
    events: [...endpoint.events],
    description: endpoint.description ?? null,
    state: endpoint.state,
    disabled_reason: endpoint.disabledReason ?? null,
    failing_since: isoOrNull(endpoint.failingSinceMs),
    previous_secret_until: isoOrNull(endpoint.previousSecretUntilMs),
    created_at: new Date(endpoint.createdAtMs).toISOString(),
  };
}

const isoOrNull = (timeMs: number | undefined): string | null =>
  timeMs === undefined ? null : new Date(timeMs).toISOString();
