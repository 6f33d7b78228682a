/** What tenants have used today, and what they may use. */

import type { UsageJson } from "@legacygpu/shared/api/usage";
import { z } from "zod";
import { requireScope } from "../../auth/principal.ts";
import type { Meter, TenantQuotas, TenantUsage } from "../../limits/tenant-quotas.ts";
import { type Endpoint, json, parseQuery } from "../endpoint.ts";

/** As tenants are named anywhere; those of other issuers are not all identifiers. */
const querySchema = z.strictObject({
  tenant: z
    .string()
    .regex(/^[^\p{Cc}]{1,200}$/u, { error: "1 to 200 printable characters" })
    .optional(),
});

export function usageEndpoints(quotas: Pick<TenantQuotas, "usage">): Endpoint[] {
  return [
    {
      method: "GET",
      pattern: "/usage",
      scope: "read",
      handle: (request, principal) => {
        const { tenant } = parseQuery(request, querySchema);
        if (tenant !== undefined) requireScope(principal, "admin");
        return json(200, usageJson(quotas.usage(tenant ?? principal.tenant)));
      },
    },
  ];
}

function usageJson({ tenant, day, resetsAtMs, tasks, gpuSeconds, bytes, requests }: TenantUsage): UsageJson {
  return {
    tenant,
    day,
    resets_at: new Date(resetsAtMs).toISOString(),
    tasks: meterJson(tasks),
    gpu_seconds: meterJson(gpuSeconds),
    bytes: meterJson(bytes),
    requests: meterJson(requests),
  };
}

function meterJson({ used, limit }: Meter): UsageJson["tasks"] {
  return { used, limit: limit ?? null };
}
