/** Uploads: inputs too large for one request, announced, sent in parts, taken up again after a break. */

import { createUploadSchema, putPartQuerySchema, type UploadJson } from "@legacygpu/shared/api/uploads";
import type { Principal } from "../../auth/principal.ts";
import type { UploadStore, UploadView } from "../../uploads/upload-store.ts";
import { type Endpoint, json, param, parseJson, parseQuery } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";
import { announcedLength } from "../request.ts";

export interface UploadEndpointParts {
  readonly uploads: UploadStore;
}

export function uploadEndpoints({ uploads }: UploadEndpointParts): Endpoint[] {
  async function create(request: Request, principal: Principal): Promise<Response> {
    const { bytes, content_type, sha256 } = parseJson(request, createUploadSchema);
    const announced = { sizeBytes: bytes, contentType: content_type, sha256 };
    const upload = uploadJson(await uploads.create(principal, announced));
    return json(201, upload, { location: upload.urls.self });
  }

  async function putPart(request: Request, principal: Principal): Promise<Response> {
    const { offset } = parseQuery(request, putPartQuerySchema);
    const length = announcedLength(request.headers);
    const sizeBytes = length === "chunked" ? undefined : length;
    const part = { offset, sizeBytes, chunks: request.stream };
    return json(200, uploadJson(await uploads.append(principal, param(request, "id"), part)));
  }

  const get = (request: Request, principal: Principal): Response =>
    json(200, uploadJson(uploads.get(principal, param(request, "id"))));

  async function remove(request: Request, principal: Principal): Promise<Response> {
    await uploads.remove(principal, param(request, "id"));
    return { status: 204 };
  }

  return [
    {
      method: "POST",
      pattern: "/uploads",
      scope: "submit",
      body: { kind: "buffer", limitBytes: 64 * 1024 },
      handle: create,
    },
    {
      method: "PUT",
      pattern: "/uploads/:id",
      scope: "submit",
      body: { kind: "stream", limitBytes: uploads.maxUploadBytes },
      handle: putPart,
    },
    { method: "GET", pattern: "/uploads/:id", scope: "submit", handle: get },
    { method: "DELETE", pattern: "/uploads/:id", scope: "submit", handle: remove },
  ];
}

function uploadJson(upload: UploadView): UploadJson {
  return {
    id: upload.id,
    object: "upload",
    bytes: upload.sizeBytes,
    received_bytes: upload.receivedBytes,
    content_type: upload.contentType,
    complete: upload.isComplete,
    expires_at: new Date(upload.expiresAtMs).toISOString(),
    urls: { self: `/uploads/${upload.id}` },
  };
}
