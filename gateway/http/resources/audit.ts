/** The audit log: read and verified, never changed. */

import { auditQuerySchema } from "@legacygpu/shared/api/audit";
import type { AuditJournal } from "../../audit/audit-journal.ts";
import { type Endpoint, json, parseQuery } from "../endpoint.ts";

export function auditEndpoints(audit: AuditJournal): Endpoint[] {
  return [
    {
      method: "GET",
      pattern: "/audit",
      scope: "admin",
      handle: async (request) => json(200, await audit.list(parseQuery(request, auditQuerySchema))),
    },
    {
      method: "GET",
      pattern: "/audit/verification",
      scope: "admin",
      handle: async () => json(200, await audit.verify()),
    },
  ];
}
