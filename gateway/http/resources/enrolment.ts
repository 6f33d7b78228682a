/** How a box becomes a worker, over HTTP: the CA to pin, enrolment with a join token, challenges and the identities that proofs get. */

import {
  challengeRequestSchema,
  type Enrolled,
  enrolSchema,
  type Identity,
  proveSchema,
} from "@legacygpu/shared/api/enrolment";
import { asLegacyGpuError, fail } from "@legacygpu/shared/errors";
import type { AuditEvent } from "../../audit/audit-log.ts";
import { bearerOf } from "../../auth/authenticator.ts";
import { CHALLENGE_LIFE_MS } from "../../workers/challenges.ts";
import type { EnrolmentOutcome } from "../../workers/enrolled-workers.ts";
import type { Enrolment } from "../../workers/enrolment.ts";
import { type Endpoint, json, parseJson } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";

const SMALL_BODY = { kind: "buffer", limitBytes: 4 * 1024 } as const;
const NOT_STORED = { "cache-control": "no-store" };

/** Open to everybody: each asks for a proof of its own, or has nothing to hide. */
export function enrolmentEndpoints(enrolment: Enrolment): Endpoint[] {
  const { workers, challenges, clock, audit, caPem } = enrolment;

  async function enrol(request: Request): Promise<Response> {
    const event = eventOf("worker.enrol", request);
    const { worker_id: id, public_key, host } = parseJson(request, enrolSchema);
    const publicKey = canonical(public_key);
    try {
      const outcome = await workers.enrol(bearerOf(request), { id, publicKey, host });
      if (outcome.kind !== "again") audit.record(enrolledEvent(event, outcome));
      return json(outcome.kind === "again" ? 200 : 201, enrolledJson(outcome));
    } catch (error) {
      const { code, status } = asLegacyGpuError(error);
      const outcome = status >= 500 ? "failed" : "refused";
      audit.record({ ...event, target: id, outcome, details: { code, host } });
      throw error;
    }
  }

  function challenge(request: Request): Response {
    const { worker_id } = parseJson(request, challengeRequestSchema);
    const expires_in = CHALLENGE_LIFE_MS / 1000;
    return json(200, { challenge: challenges.issue(worker_id), expires_in }, NOT_STORED);
  }

  async function identity(request: Request): Promise<Response> {
    const event = eventOf("worker.prove", request);
    const proof = parseJson(request, proveSchema);
    try {
      const { text, lifeMs, worker } = await enrolment.prove(proof);
      const answer: Identity = {
        identity: text,
        expires_in: Math.floor(lifeMs / 1000),
        site: worker.site,
        ca_pem: caPem() ?? "",
        server_time: new Date(clock.now()).toISOString(),
      };
      return json(200, answer, NOT_STORED);
    } catch (error) {
      const { code, status } = asLegacyGpuError(error);
      // A worker that waits for its approval asks again and again: nothing is wrong with that.
      if (status < 500 && code !== "worker_not_approved")
        audit.record({ ...event, target: proof.worker_id, outcome: "refused", details: { code } });
      throw error;
    }
  }

  return [
    { method: "GET", pattern: "/ca.pem", handle: () => caResponse(caPem()) },
    { method: "POST", pattern: "/agent/enrolments", body: SMALL_BODY, handle: enrol },
    { method: "POST", pattern: "/agent/challenges", body: SMALL_BODY, handle: challenge },
    { method: "POST", pattern: "/agent/identities", body: SMALL_BODY, handle: identity },
  ];
}

function enrolledJson({ worker: { id, site, status } }: EnrolmentOutcome): Enrolled {
  return { worker_id: id, site, status: status === "pending" ? "pending" : "approved" };
}

/** Public: whoever pins it has its hash from elsewhere. @throws `route_not_found` */
function caResponse(caPem: string | undefined): Response {
  if (caPem !== undefined)
    return { status: 200, headers: { "content-type": "application/x-pem-file" }, body: caPem };
  const message = "This gateway has its certificate from a CA that every system knows: there is none to pin.";
  throw fail("route_not_found", message);
}

/** Asked before anything is awaited: who hangs up has no address any more. */
function eventOf(action: string, { id: requestId, remoteAddress: address }: Request): AuditEvent {
  return { action, address, requestId };
}

function enrolledEvent(event: AuditEvent, { kind, worker }: EnrolmentOutcome): AuditEvent {
  const { id: target, site, host, status, joinToken } = worker;
  const action = kind === "replaced" ? "worker.replace" : event.action;
  const details = { site, host, status, join_token: joinToken };
  return { ...event, action, actor: joinToken, actorName: "join token", target, details };
}

/** The last character of base64url holds bits that mean nothing: one key must not have several texts. */
function canonical(publicKey: string): string {
  return Buffer.from(publicKey, "base64url").toString("base64url");
}
