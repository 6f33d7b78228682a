/** API keys and worker keys: created, listed, rotated, revoked. */

import { type CreateKey, createKeySchema, rotateKeySchema } from "@legacygpu/shared/api/keys";
import { asLegacyGpuError, fail } from "@legacygpu/shared/errors";
import type { AuditEvent, AuditLog } from "../../audit/audit-log.ts";
import type { IssuedKey, KeyRing } from "../../auth/key-ring.ts";
import type { Principal } from "../../auth/principal.ts";
import { type Endpoint, json, param, parse, parseJson } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";

export interface KeyParts {
  readonly keys: KeyRing;
  readonly audit: Pick<AuditLog, "record">;
}

type Told = Pick<AuditEvent, "target" | "details">;

export function keyEndpoints({ keys, audit }: KeyParts): Endpoint[] {
  /** Does something and says so in the audit log: also when it failed half-way, but not when it was refused as wrong. */
  async function audited<Result>(
    event: AuditEvent,
    act: () => Promise<Result>,
    tell: (result: Result) => Told,
  ): Promise<Result> {
    try {
      const result = await act();
      audit.record({ ...event, ...tell(result) });
      return result;
    } catch (error) {
      const { code, status } = asLegacyGpuError(error);
      if (status >= 500) audit.record({ ...event, outcome: "failed", details: { code } });
      throw error;
    }
  }

  async function create(request: Request, principal: Principal): Promise<Response> {
    const wanted = parseJson(request, createKeySchema);
    const kind = kindOf(wanted);
    const issued = await audited(
      eventOf("key.create", request, principal),
      () => keys.issue(kind, wanted),
      ({ id, json }) => ({ target: id, details: detailsOf(json) }),
    );
    return shownOnce(issued);
  }

  async function rotate(request: Request, principal: Principal): Promise<Response> {
    const id = param(request, "id");
    const { grace } =
      request.body.length === 0 ? parse({}, rotateKeySchema) : parseJson(request, rotateKeySchema);
    const issued = await audited(
      { ...eventOf("key.rotate", request, principal), target: id },
      () => keys.rotate(id, grace),
      ({ json }) => ({
        target: id,
        details: { ...detailsOf(json), replacement: json.id, grace_seconds: grace },
      }),
    );
    return shownOnce(issued);
  }

  async function revoke(request: Request, principal: Principal): Promise<Response> {
    const id = param(request, "id");
    const revoked = await audited(
      { ...eventOf("key.revoke", request, principal), target: id },
      () => keys.revoke(id),
      (key) => ({ target: id, details: detailsOf(key) }),
    );
    return json(200, revoked);
  }

  return [
    {
      method: "POST",
      pattern: "/keys",
      scope: "admin",
      isForKeys: true,
      body: { kind: "buffer", limitBytes: 64 * 1024 },
      handle: create,
    },
    { method: "GET", pattern: "/keys", scope: "admin", handle: () => json(200, { keys: keys.list() }) },
    {
      method: "POST",
      pattern: "/keys/:id/rotate",
      scope: "admin",
      isForKeys: true,
      body: { kind: "buffer", limitBytes: 4 * 1024 },
      handle: rotate,
    },
    { method: "DELETE", pattern: "/keys/:id", scope: "admin", handle: revoke },
  ];
}

/** @throws `request_invalid` */
function kindOf({ scopes }: CreateKey): "client" | "worker" {
  if (!scopes.includes("worker")) return "client";
  if (scopes.every((scope) => scope === "worker")) return "worker";
  const message = "scopes: `worker` stands alone; a machine's key must not act for a person.";
  throw fail("request_invalid", message, { path: "scopes" });
}

/** No cache may keep a key. */
function shownOnce({ json: shown, key }: IssuedKey): Response {
  return json(201, { ...shown, key }, { "cache-control": "no-store" });
}

function eventOf(action: string, request: Request, { keyId, name, tenant }: Principal): AuditEvent {
  const { id: requestId, remoteAddress: address } = request;
  return { action, actor: keyId, actorName: name, tenant, address, requestId };
}

function detailsOf({ name, scopes, tenant }: IssuedKey["json"]): NonNullable<AuditEvent["details"]> {
  return { name, scopes: [...scopes], tenant };
}
