/** The files of models on their way in: `PUT /blobs/{digest}`, whole or taken up again where it broke off. */

import { type BlobUploadJson, MAX_MODEL_BYTES, putBlobQuerySchema } from "@legacygpu/shared/api/models";
import { type Digest, digestSchema } from "@legacygpu/shared/manifest";
import type { Standing } from "../../models/blob-uploads.ts";
import type { ModelFiles } from "../../models/model-files.ts";
import { type Endpoint, json, param, parse, parseQuery } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";

export function blobEndpoints(files: ModelFiles): Endpoint[] {
  async function put(request: Request): Promise<Response> {
    const digest = digestOf(request);
    const { offset, bytes } = parseQuery(request, putBlobQuerySchema);
    if (offset === undefined) {
      const { sizeBytes, isNew } = await files.receive(digest, request.stream);
      return json(isNew ? 201 : 200, { ...uploadJson(digest, complete(sizeBytes)), size_bytes: sizeBytes });
    }
    const standing = await files.append(digest, { offset, totalBytes: bytes, chunks: request.stream });
    const answer = uploadJson(digest, standing);
    return standing.isComplete ? json(201, { ...answer, size_bytes: standing.offset }) : json(202, answer);
  }

  async function standing(request: Request): Promise<Response> {
    const digest = digestOf(request);
    const answer = uploadJson(digest, await files.standing(digest));
    // For HEAD, whose answer has no body.
    const headers = {
      "upload-offset": String(answer.offset),
      "upload-complete": answer.complete ? "?1" : "?0",
    };
    return json(200, answer, headers);
  }

  return [
    {
      method: "PUT",
      pattern: "/blobs/:digest",
      scope: "models",
      body: { kind: "stream", limitBytes: MAX_MODEL_BYTES },
      handle: put,
    },
    { method: "GET", pattern: "/blobs/:digest/upload", scope: "models", handle: standing },
  ];
}

function digestOf(request: Request): Digest {
  return parse(param(request, "digest"), digestSchema);
}

function complete(sizeBytes: number): Standing {
  return { offset: sizeBytes, isComplete: true };
}

function uploadJson(digest: Digest, { offset, isComplete }: Standing): BlobUploadJson {
  return { digest, offset, complete: isComplete };
}
