/** Who may use the gateway, how much of it they have used, and what the audit log says of them. */

import {
  type AuditPage,
  type AuditQuery,
  type AuditVerification,
  auditPageSchema,
  auditVerificationSchema,
} from "@legacygpu/shared/api/audit";
import {
  type CreateKey,
  createdKeySchema,
  type KeyJson,
  keyJsonSchema,
  keyListSchema,
  type RotateKey,
} from "@legacygpu/shared/api/keys";
import { type UsageJson, usageSchema } from "@legacygpu/shared/api/usage";
import { z } from "zod";
import type { Transport } from "./transport.ts";

export type CreatedKey = z.infer<typeof createdKeySchema>;

export class AccessAdmin {
  readonly #transport: Transport;
  readonly #lasting: Transport;

  /** @param lasting for what outlives a token. */
  constructor(transport: Transport, lasting: Transport) {
    this.#transport = transport;
    this.#lasting = lasting;
  }

  createKey(key: CreateKey, signal?: AbortSignal): Promise<CreatedKey> {
    return this.#lasting.request({ method: "POST", path: "/keys", json: key }, createdKeySchema, signal);
  }

  async listKeys(signal?: AbortSignal): Promise<KeyJson[]> {
    return (await this.#transport.request({ method: "GET", path: "/keys" }, keyListSchema, signal)).keys;
  }

  rotateKey(id: string, rotation: RotateKey, signal?: AbortSignal): Promise<CreatedKey> {
    const call = { method: "POST", path: `${pathOf(id)}/rotate`, json: rotation } as const;
    return this.#lasting.request(call, createdKeySchema, signal);
  }

  revokeKey(id: string, signal?: AbortSignal): Promise<KeyJson | undefined> {
    const answer = z.union([keyJsonSchema, z.unknown().transform(() => undefined)]);
    return this.#transport.request({ method: "DELETE", path: pathOf(id) }, answer, signal);
  }

  usage(tenant: string | undefined, signal?: AbortSignal): Promise<UsageJson> {
    return this.#transport.request({ method: "GET", path: "/usage", query: { tenant } }, usageSchema, signal);
  }

  audit(query: AuditQuery, signal?: AbortSignal): Promise<AuditPage> {
    const call = { method: "GET", path: "/audit", query: { ...query } } as const;
    return this.#transport.request(call, auditPageSchema, signal);
  }

  verifyAudit(signal?: AbortSignal): Promise<AuditVerification> {
    const call = { method: "GET", path: "/audit/verification" } as const;
    return this.#transport.request(call, auditVerificationSchema, signal);
  }
}

function pathOf(id: string): string {
  return `/keys/${encodeURIComponent(id)}`;
}
