/** The model catalogue: names, versions that point to files, and aliases that point to versions. */

import {
  type AliasJson,
  putAliasSchema,
  putModelSchema,
  type RemovedModels,
} from "@legacygpu/shared/api/models";
import { modelNameSchema, modelVersionSchema } from "@legacygpu/shared/manifest";
import { z } from "zod";
import { mayUseModel, type Principal, requireModel } from "../../auth/principal.ts";
import type { Catalogue } from "../../models/catalogue.ts";
import { modelDetails } from "../../models/model-record.ts";
import type { ModelRemoval } from "../../models/model-removal.ts";
import { type Endpoint, json, parse, parseJson, parseQuery } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";

/** Room for the labels of a large classifier. */
const MAX_MANIFEST_BYTES = 16 * 1024 ** 2;
const MAX_ALIAS_BYTES = 4096;

const nameSchema = z.object({ name: modelNameSchema });
const versionSchema = z.object({ name: modelNameSchema, version: modelVersionSchema });
const aliasSchema = z.object({ name: modelNameSchema, alias: modelVersionSchema });
const removalQuerySchema = z.strictObject({ force: z.enum(["true", "false"]).default("false") });

export interface ModelParts {
  readonly catalogue: Catalogue;
  readonly removal: ModelRemoval;
}

export function modelEndpoints(parts: ModelParts): Endpoint[] {
  return [...versionEndpoints(parts), ...aliasEndpoints(parts), ...removalEndpoints(parts)];
}

function versionEndpoints({ catalogue }: ModelParts): Endpoint[] {
  async function put(request: Request, principal: Principal): Promise<Response> {
    const { name, version } = address(request, principal, versionSchema);
    const { file, manifest } = parseJson(request, putModelSchema);
    const { model, isNew } = await catalogue.add(name, version, file, manifest);
    return json(isNew ? 201 : 200, catalogue.json(model));
  }

  const list = (_request: Request, principal: Principal): Response => {
    const models = catalogue.list().filter(({ ref }) => mayUseModel(principal, ref.name));
    return json(200, { models: models.map((model) => catalogue.json(model)) });
  };

  const versions = (request: Request, principal: Principal): Response => {
    const { name } = address(request, principal, nameSchema);
    return json(200, { models: catalogue.versions(name).map((model) => catalogue.json(model)) });
  };

  const details = (request: Request, principal: Principal): Response => {
    const { name, version } = address(request, principal, versionSchema);
    const model = catalogue.find(name, version);
    return json(200, modelDetails(model, catalogue.aliasesOf(model)));
  };

  const pattern = "/models/:name/versions/:version";
  const body = { kind: "buffer", limitBytes: MAX_MANIFEST_BYTES } as const;
  return [
    { method: "PUT", pattern, scope: "models", action: "model.push", body, handle: put },
    { method: "GET", pattern, scope: "read", handle: details },
    { method: "GET", pattern: "/models", scope: "read", handle: list },
    { method: "GET", pattern: "/models/:name", scope: "read", handle: versions },
  ];
}

function aliasEndpoints({ catalogue }: ModelParts): Endpoint[] {
  async function put(request: Request, principal: Principal): Promise<Response> {
    const { name, alias } = address(request, principal, aliasSchema);
    const { version } = parseJson(request, putAliasSchema);
    const { ref } = await catalogue.setAlias(name, alias, version);
    return json(200, { model: name, alias, version: ref.version } satisfies AliasJson);
  }

  async function remove(request: Request, principal: Principal): Promise<Response> {
    const { name, alias } = address(request, principal, aliasSchema);
    await catalogue.removeAlias(name, alias);
    return { status: 204 };
  }

  const pattern = "/models/:name/aliases/:alias";
  const body = { kind: "buffer", limitBytes: MAX_ALIAS_BYTES } as const;
  return [
    { method: "PUT", pattern, scope: "models", action: "model.alias", body, handle: put },
    { method: "DELETE", pattern, scope: "models", action: "model.unalias", handle: remove },
  ];
}

function removalEndpoints({ removal }: ModelParts): Endpoint[] {
  async function remove(request: Request, name: string, version?: string): Promise<Response> {
    const { force } = parseQuery(request, removalQuerySchema);
    const { models, failedTasks } = await removal.remove(name, version, { isForced: force === "true" });
    const removed = models.map(({ ref }) => ({ name: ref.name, version: ref.version }));
    return json(200, { removed, failed_tasks: failedTasks } satisfies RemovedModels);
  }

  const common = { method: "DELETE", scope: "models", action: "model.remove" } as const;
  return [
    {
      ...common,
      pattern: "/models/:name",
      handle: (request, principal) => remove(request, address(request, principal, nameSchema).name),
    },
    {
      ...common,
      pattern: "/models/:name/versions/:version",
      handle: (request, principal) => {
        const { name, version } = address(request, principal, versionSchema);
        return remove(request, name, version);
      },
    },
  ];
}

/** @throws `request_invalid`, `auth_forbidden` */
function address<T extends { readonly name: string }>(
  request: Request,
  principal: Principal,
  schema: z.ZodType<T>,
): T {
  const given = parse(request.params, schema);
  requireModel(principal, given.name);
  return given;
}
