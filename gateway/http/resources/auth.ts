/** Access tokens and the keys that sign them. */

import { createTokenSchema, type TokenJson } from "@legacygpu/shared/api/tokens";
import { asLegacyGpuError } from "@legacygpu/shared/errors";
import type { z } from "zod";
import type { AuditEvent, AuditLog } from "../../audit/audit-log.ts";
import type { Principal } from "../../auth/principal.ts";
import type { IssuedToken } from "../../auth/tokens/access-tokens.ts";
import type { Tokens } from "../../auth/tokens/tokens.ts";
import { type Endpoint, json, parse, parseJson } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";

type Wanted = z.infer<typeof createTokenSchema>;

export interface AuthParts {
  readonly tokens: Tokens;
  readonly audit: Pick<AuditLog, "record">;
}

const SMALL_BODY = { kind: "buffer", limitBytes: 16 * 1024 } as const;
const NOT_STORED = { "cache-control": "no-store" };
/** A new key is announced ten minutes before it signs. */
const FOR_MINUTES = { "cache-control": "public, max-age=300" };

export function authEndpoints({ tokens, audit }: AuthParts): Endpoint[] {
  async function create(request: Request, principal: Principal): Promise<Response> {
    const wanted =
      request.body.length === 0 ? parse({}, createTokenSchema) : parseJson(request, createTokenSchema);
    const { text, scopes, ttlSeconds, id } = await issue(wanted, request, principal);
    const details = { scopes: [...scopes], ttl: ttlSeconds };
    audit.record({ ...eventOf("token.create", request, principal), target: id, details });
    const answer: TokenJson = {
      access_token: text,
      token_type: "Bearer",
      expires_in: ttlSeconds,
      scope: scopes.join(" "),
    };
    return json(200, answer, NOT_STORED);
  }

  async function issue(wanted: Wanted, request: Request, principal: Principal): Promise<IssuedToken> {
    const { scopes, ttl: ttlSeconds } = wanted;
    try {
      return await tokens.issue(principal, { scopes, ttlSeconds });
    } catch (error) {
      const details = { code: asLegacyGpuError(error).code, scopes: scopes ?? [], ttl: ttlSeconds };
      audit.record({ ...eventOf("token.create", request, principal), outcome: "refused", details });
      throw error;
    }
  }

  async function rotate(request: Request, principal: Principal): Promise<Response> {
    const { kid, signsFromMs } = await tokens.rotateSigningKeys();
    audit.record({ ...eventOf("signing_key.rotate", request, principal), target: kid });
    return json(200, { kid, signs_from: new Date(signsFromMs).toISOString() });
  }

  return [
    { method: "POST", pattern: "/auth/token", scope: "any", body: SMALL_BODY, handle: create },
    {
      method: "GET",
      pattern: "/.well-known/jwks.json",
      handle: () => json(200, tokens.jwks(), FOR_MINUTES),
    },
    { method: "POST", pattern: "/auth/signing-keys/rotate", scope: "admin", handle: rotate },
  ];
}

function eventOf(action: string, request: Request, { keyId, name, tenant }: Principal): AuditEvent {
  return {
    action,
    actor: keyId,
    actorName: name,
    tenant,
    address: request.remoteAddress,
    requestId: request.id,
  };
}
