/** Enrolled workers: listed, approved, revoked. */

import type { Principal } from "../../auth/principal.ts";
import type { Enrolment } from "../../workers/enrolment.ts";
import { type WorkerRecord, workerJson } from "../../workers/worker-record.ts";
import { type Endpoint, json, param } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";
import { eventOf, orTold } from "./join-tokens.ts";

export type WorkerParts = Pick<Enrolment, "workers" | "audit">;

export function workerEndpoints({ workers, audit }: WorkerParts): Endpoint[] {
  const toJson = (worker: WorkerRecord) => workerJson(worker, workers.isConnected(worker.id));

  async function change(
    verb: "approve" | "revoke",
    request: Request,
    principal: Principal,
  ): Promise<Response> {
    const target = param(request, "id");
    const event = { ...eventOf(`worker.${verb}`, request, principal), target };
    const worker = await orTold(audit, event, () => workers[verb](target));
    audit.record({ ...event, details: { site: worker.site, host: worker.host } });
    return json(200, toJson(worker));
  }

  return [
    {
      method: "GET",
      pattern: "/workers",
      scope: "admin",
      handle: () => json(200, { workers: workers.list().map(toJson) }),
    },
    {
      method: "POST",
      pattern: "/workers/:id/approve",
      scope: "admin",
      isForKeys: true,
      handle: (request, principal) => change("approve", request, principal),
    },
    {
      method: "DELETE",
      pattern: "/workers/:id",
      scope: "admin",
      handle: (request, principal) => change("revoke", request, principal),
    },
  ];
}
