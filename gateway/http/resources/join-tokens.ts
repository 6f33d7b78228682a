/** Join tokens: created, listed, revoked. */

import { createJoinTokenSchema } from "@legacygpu/shared/api/enrolment";
import { asLegacyGpuError, fail } from "@legacygpu/shared/errors";
import { encodeJoinToken, pinOf } from "@legacygpu/shared/join-token";
import { certificatesIn } from "@legacygpu/shared/pem";
import type { AuditEvent, AuditLog } from "../../audit/audit-log.ts";
import type { Principal } from "../../auth/principal.ts";
import type { Enrolment } from "../../workers/enrolment.ts";
import { joinTokenJson } from "../../workers/join-tokens.ts";
import { type Endpoint, json, param, parseJson } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";

export type JoinTokenParts = Pick<Enrolment, "joinTokens" | "audit" | "caPem"> & {
  /** Where boxes reach the gateway, when its operator has said so. */
  readonly publicUrl?: string | undefined;
};

export function joinTokenEndpoints(parts: JoinTokenParts): Endpoint[] {
  const { joinTokens, audit, caPem, publicUrl } = parts;

  async function create(request: Request, principal: Principal): Promise<Response> {
    const { site, ttl, uses, url: given } = parseJson(request, createJoinTokenSchema);
    const event = eventOf("join_token.create", request, principal);
    const known = given ?? publicUrl;
    const url = known === undefined ? addressOf(request) : originOf(known);
    const pins = pinsOf(caPem());
    const wanted = { site, ttlMs: ttl * 1000, uses };
    const { record, secret } = await orTold(audit, event, () => joinTokens.create(wanted));
    audit.record({ ...event, target: record.id, details: { site, ttl, uses, url } });
    const token = encodeJoinToken({ url, pins, secret });
    return json(201, { ...joinTokenJson(record), token }, { "cache-control": "no-store" });
  }

  async function revoke(request: Request, principal: Principal): Promise<Response> {
    const target = param(request, "id");
    const event = { ...eventOf("join_token.revoke", request, principal), target };
    const record = await orTold(audit, event, () => joinTokens.revoke(target));
    audit.record({ ...event, details: { site: record.site, uses_left: record.usesLeft } });
    return json(200, joinTokenJson(record));
  }

  return [
    {
      method: "POST",
      pattern: "/join-tokens",
      scope: "admin",
      isForKeys: true,
      body: { kind: "buffer", limitBytes: 4 * 1024 },
      handle: create,
    },
    {
      method: "GET",
      pattern: "/join-tokens",
      scope: "admin",
      handle: () => json(200, { join_tokens: joinTokens.list().map(joinTokenJson) }),
    },
    { method: "DELETE", pattern: "/join-tokens/:id", scope: "admin", handle: revoke },
  ];
}

/** Asked before anything is awaited: who hangs up has no address any more. */
export function eventOf(action: string, request: Request, { keyId, name, tenant }: Principal): AuditEvent {
  const { id: requestId, remoteAddress: address } = request;
  return { action, actor: keyId, actorName: name, tenant, address, requestId };
}

/** What failed half-way is told as well: a revocation that could not be stored counts until the next start. */
export async function orTold<Result>(
  audit: Pick<AuditLog, "record">,
  event: AuditEvent,
  act: () => Promise<Result>,
): Promise<Result> {
  try {
    return await act();
  } catch (error) {
    const { code, status } = asLegacyGpuError(error);
    if (status >= 500) audit.record({ ...event, outcome: "failed", details: { code } });
    throw error;
  }
}

function addressOf({ headers }: Request): string {
  return originOf(`https://${headers.get("host") ?? ""}`);
}

/** @throws `request_invalid` when it is more, or less, than the address of a gateway. */
function originOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && url.protocol === "https:" && url.href === `${url.origin}/`) return url.origin;
  const message = `url: "${text}" is not the address of a gateway: write https://HOST:PORT, as boxes reach it`;
  throw fail("request_invalid", message, { path: "url" });
}

function pinsOf(caPem: string | undefined): string[] {
  return caPem === undefined ? [] : certificatesIn(caPem).map(pinOf);
}
