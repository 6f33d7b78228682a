/** The model catalogue: blobs by digest, then names and versions that point to them. */

import { putModelSchema } from "@legacygpu/shared/api/models";
import { digestSchema, modelNameSchema, modelVersionSchema } from "@legacygpu/shared/manifest";
import { z } from "zod";
import { mayUseModel, type Principal, requireModel } from "../../auth/principal.ts";
import { type Catalogue, modelJson } from "../../models/catalogue.ts";
import { type Endpoint, json, param, parse, parseJson } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";

/** protobuf itself cannot hold more. */
const MAX_MODEL_BYTES = 2 * 1024 ** 3;
/** Room for the labels of a large classifier. */
const MAX_MANIFEST_BYTES = 16 * 1024 ** 2;

const addressSchema = z.object({ name: modelNameSchema, version: modelVersionSchema });

export function modelEndpoints(catalogue: Catalogue): Endpoint[] {
  async function putBlob(request: Request): Promise<Response> {
    const digest = parse(param(request, "digest"), digestSchema);
    const existing = await catalogue.blobs.sizeBytes(digest);
    if (existing !== undefined) {
      // The client may be in the middle of sending: read to the end, so that it gets the answer.
      for await (const _ of request.stream);
      return json(200, { digest, size_bytes: existing });
    }
    return json(201, { digest, size_bytes: await catalogue.blobs.receive(digest, request.stream) });
  }

  async function putModel(request: Request, principal: Principal): Promise<Response> {
    const { name, version } = parse(request.params, addressSchema);
    requireModel(principal, name);
    const { file, manifest } = parseJson(request, putModelSchema);
    const { model, isNew } = await catalogue.add(name, version, file, manifest);
    return json(isNew ? 201 : 200, modelJson(model));
  }

  return [
    {
      method: "PUT",
      pattern: "/blobs/:digest",
      scope: "models",
      body: { kind: "stream", limitBytes: MAX_MODEL_BYTES },
      handle: putBlob,
    },
    {
      method: "PUT",
      pattern: "/models/:name/versions/:version",
      scope: "models",
      action: "model.push",
      body: { kind: "buffer", limitBytes: MAX_MANIFEST_BYTES },
      handle: putModel,
    },
    {
      method: "GET",
      pattern: "/models",
      scope: "read",
      handle: (_request, principal) => {
        const models = catalogue.list().filter(({ ref }) => mayUseModel(principal, ref.name));
        return json(200, { models: models.map(modelJson) });
      },
    },
    {
      method: "GET",
      pattern: "/models/:name",
      scope: "read",
      handle: (request, principal) => {
        const name = param(request, "name");
        requireModel(principal, name);
        return json(200, { models: catalogue.versions(name).map(modelJson) });
      },
    },
  ];
}
