/** What travels beside the agent link: models, and the payloads of attempts that are too large for a frame. */

import { fail } from "@legacygpu/shared/errors";
import { digestSchema } from "@legacygpu/shared/manifest";
import { blobAnswer } from "@legacygpu/shared/protocol/byte-range";
import { decodeValue, encodeValue } from "@legacygpu/shared/protocol/codec";
import { outputSchema } from "@legacygpu/shared/protocol/messages";
import type { Principal } from "../../auth/principal.ts";
import type { AttemptOutputs } from "../../link/attempt-outputs.ts";
import type { Blobs } from "../../models/blobs.ts";
import type { Scheduler } from "../../scheduler/scheduler.ts";
import { type Endpoint, json, param, parse } from "../endpoint.ts";
import type { Request, RequestHead, Response } from "../exchange.ts";

const MAX_OUTPUT_BYTES = 512 * 1024 ** 2;

export interface AgentParts {
  readonly blobs: Blobs;
  readonly scheduler: Scheduler;
  readonly outputs: AttemptOutputs;
}

export function agentEndpoints({ blobs, scheduler, outputs }: AgentParts): Endpoint[] {
  async function blob(request: Request): Promise<Response> {
    const digest = parse(param(request, "digest"), digestSchema);
    const totalBytes = await blobs.sizeBytes(digest);
    if (totalBytes === undefined) throw fail("blob_not_found", `There is no blob ${digest}.`);
    const asked = { range: request.headers.get("range"), ifRange: request.headers.get("if-range") };
    const { status, headers, range } = blobAnswer(asked, digest, totalBytes);
    if (status === 416) return { status, headers };
    const body = range === undefined ? await blobs.stream(digest) : blobs.streamRange(digest, range);
    return { status, headers, body };
  }

  function input(request: Request, principal: Principal): Response {
    const value = scheduler.view.inputOf(param(request, "task"), tokenOf(request), principal.keyId);
    return { status: 200, headers: { "content-type": "application/msgpack" }, body: encodeValue(value) };
  }

  function requireTheirs(head: RequestHead, principal: Principal): void {
    if (!scheduler.view.isTheirs(param(head, "task"), tokenOf(head), principal.keyId))
      throw fail("attempt_not_found");
  }

  function output(request: Request, principal: Principal): Response {
    // Again: the attempt may have been lost while its body arrived.
    requireTheirs(request, principal);
    const token = tokenOf(request);
    outputs.put(token, parse(decodeValue(request.body), outputSchema), request.body.length);
    return json(200, {});
  }

  return [
    { method: "GET", pattern: "/agent/blobs/:digest", scope: "worker", handle: blob },
    { method: "GET", pattern: "/agent/attempts/:task/:token/input", scope: "worker", handle: input },
    {
      method: "PUT",
      pattern: "/agent/attempts/:task/:token/output",
      scope: "worker",
      body: { kind: "buffer", limitBytes: MAX_OUTPUT_BYTES },
      check: requireTheirs,
      handle: output,
    },
  ];
}

function tokenOf(head: RequestHead): number {
  const token = Number(param(head, "token"));
  if (!Number.isSafeInteger(token)) throw fail("attempt_not_found");
  return token;
}
