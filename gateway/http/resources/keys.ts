/** API keys and worker keys: created, listed, revoked. */

import { createKeySchema } from "@legacygpu/shared/api/keys";
import { fail } from "@legacygpu/shared/errors";
import type { KeyRing } from "../../auth/key-ring.ts";
import { type Endpoint, json, param, parseJson } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";

export function keyEndpoints(keys: KeyRing): Endpoint[] {
  async function create(request: Request): Promise<Response> {
    const wanted = parseJson(request, createKeySchema);
    const isWorker = wanted.scopes.includes("worker");
    if (isWorker && wanted.scopes.length > 1) {
      throw fail(
        "request_invalid",
        "scopes: `worker` stands alone; a machine's key must not act for a person.",
        {
          path: "scopes",
        },
      );
    }
    const issued = await keys.issue(isWorker ? "worker" : "client", wanted);
    return json(201, { ...issued.json, key: issued.key });
  }

  return [
    {
      method: "POST",
      pattern: "/keys",
      scope: "admin",
      body: { kind: "buffer", limitBytes: 64 * 1024 },
      handle: create,
    },
    { method: "GET", pattern: "/keys", scope: "admin", handle: () => json(200, { keys: keys.list() }) },
    {
      method: "DELETE",
      pattern: "/keys/:id",
      scope: "admin",
      handle: async (request) => json(200, await keys.revoke(param(request, "id"))),
    },
  ];
}
