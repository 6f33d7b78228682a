/** What travels beside the agent link: models, and the payloads of attempts that are too large for a frame. */

import { fail } from "@legacygpu/shared/errors";
import { digestSchema } from "@legacygpu/shared/manifest";
import { blobAnswer, rangeAnswer } from "@legacygpu/shared/protocol/byte-range";
import { decodeValue } from "@legacygpu/shared/protocol/codec";
import { outputSchema } from "@legacygpu/shared/protocol/messages";
import type { Principal } from "../../auth/principal.ts";
import type { AttemptInputs } from "../../link/attempt-inputs.ts";
import type { AttemptOutputs } from "../../link/attempt-outputs.ts";
import type { Blobs } from "../../models/blobs.ts";
import type { Transfer } from "../../registry/site-line.ts";
import type { Site } from "../../registry/sites.ts";
import type { Scheduler } from "../../scheduler/scheduler.ts";
import { type Endpoint, json, param, parse } from "../endpoint.ts";
import type { Request, RequestHead, Response } from "../exchange.ts";

const MAX_OUTPUT_BYTES = 512 * 1024 ** 2;

export interface AgentParts {
  readonly blobs: Blobs;
  readonly scheduler: Scheduler;
  readonly inputs: AttemptInputs;
  readonly outputs: AttemptOutputs;
}

export function agentEndpoints({ blobs, scheduler, inputs, outputs }: AgentParts): Endpoint[] {
  /** Outputs on their way, by the head of their request. */
  const arriving = new WeakMap<RequestHead, Transfer>();

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
    requireTheirs(request, principal);
    const token = tokenOf(request);
    const whole = inputs.encoded(token, () =>
      scheduler.view.inputOf(param(request, "task"), token, principal.keyId),
    );
    const asked = { range: request.headers.get("range"), ifRange: request.headers.get("if-range") };
    const representation = { tag: `"${token}"`, type: "application/msgpack", sizeBytes: whole.length };
    const { status, headers, range } = rangeAnswer(asked, representation);
    if (status === 416) return { status, headers };
    const { first, last } = range ?? { first: 0, last: whole.length - 1 };
    siteOf(request)?.toSite.expect(last + 1 - first);
    if (last + 1 === whole.length) inputs.forget(token);
    return { status, headers, body: whole.subarray(first, last + 1) };
  }

  function siteOf(head: RequestHead): Site | undefined {
    return scheduler.view.holderOf(param(head, "task"), tokenOf(head))?.path.site;
  }

  function requireTheirs(head: RequestHead, principal: Principal): void {
    if (!scheduler.view.isTheirs(param(head, "task"), tokenOf(head), principal.keyId))
      throw fail("attempt_not_found");
  }

  function outputBegins(head: RequestHead, principal: Principal): void {
    requireTheirs(head, principal);
    const transfer = siteOf(head)?.fromSite.begin(Number(head.headers.get("content-length") ?? 0));
    if (transfer !== undefined) arriving.set(head, transfer);
  }

  function output(request: Request, principal: Principal): Response {
    arriving.get(request)?.end(request.body.length);
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
      check: outputBegins,
      handle: output,
    },
  ];
}

function tokenOf(head: RequestHead): number {
  const token = Number(param(head, "token"));
  if (!Number.isSafeInteger(token)) throw fail("attempt_not_found");
  return token;
}
