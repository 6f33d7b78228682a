/** The Open Inference Protocol's model repository: which models there are and where they stand, load, unload. */

import { z } from "zod";
import { mayUseModel, type Principal, requireModel } from "../../auth/principal.ts";
import type { ModelRepository } from "../../inference/model-repository.ts";
import { notReady, notSupported, Refusal } from "../../inference/refusal.ts";
import type { Catalogue, Model } from "../../models/catalogue.ts";
import { type Endpoint, json, param, parseJson } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";
import { withRefusals } from "./refusals.ts";

/** The network libraries of the clients give up after 60 s. */
const MAX_WAIT_MS = 50_000;
const RETRY_AFTER_SECONDS = 5;
const SMALL_BODY = { kind: "buffer", limitBytes: 64 * 1024 } as const;

const indexSchema = z.object({ ready: z.boolean().nullish() });
const loadSchema = z.object({ parameters: z.record(z.string(), z.string()).nullish() });
const unloadSchema = z.object({
  parameters: z.object({ unload_dependents: z.boolean().nullish() }).nullish(),
});

interface IndexEntry {
  readonly name: string;
  readonly version?: string;
  readonly state?: string;
  readonly reason?: string;
}

export interface ModelRepositoryEndpointParts {
  readonly catalogue: Catalogue;
  readonly repository: ModelRepository;
}

export function modelRepositoryEndpoints({
  catalogue,
  repository,
}: ModelRepositoryEndpointParts): Endpoint[] {
  function index(request: Request, principal: Principal): Response {
    const { ready: isOnlyReady } = optional(request, indexSchema);
    const entries = catalogue
      .list()
      .filter(({ ref }) => mayUseModel(principal, ref.name))
      .map((model) => indexEntry(model, repository))
      .filter(({ state }) => isOnlyReady !== true || state === "READY");
    return json(200, withoutEchoes(entries));
  }

  async function load(request: Request, principal: Principal): Promise<Response> {
    const { parameters } = optional(request, loadSchema);
    const model = findModel(request, principal, catalogue);
    const { name } = model.ref;
    const [other] = Object.keys(parameters ?? {});
    if (other !== undefined) {
      throw notSupported(
        `load parameter '${other}' is not supported: push a new version of '${name}' with its file and manifest`,
      );
    }
    const patience = new AbortController();
    request.onHangUp(() => patience.abort());
    const outcome = await repository.load(model, {
      maxWaitMs: MAX_WAIT_MS,
      sites: principal.sites,
      signal: patience.signal,
    });
    switch (outcome.kind) {
      case "ready":
        return json(200, { name, load: true });
      case "failed":
        throw new Refusal(500, `failed to load '${name}', ${outcome.reason}`);
      case "nowhere":
        throw notReady(`no worker that could run '${name}' is connected`, RETRY_AFTER_SECONDS);
      case "loading":
        throw notReady(`model '${name}' is ${outcome.progress}`, RETRY_AFTER_SECONDS);
    }
  }

  function unload(request: Request, principal: Principal): Response {
    optional(request, unloadSchema);
    const { name } = findModel(request, principal, catalogue).ref;
    for (const model of catalogue.versions(name)) repository.unload(model);
    return json(200, { name, unload: true });
  }

  return withRefusals([
    { method: "POST", pattern: "/v2/repository/index", scope: "read", body: SMALL_BODY, handle: index },
    {
      method: "POST",
      pattern: "/v2/repository/models/:model/load",
      scope: "models",
      action: "model.load",
      body: SMALL_BODY,
      handle: load,
    },
    {
      method: "POST",
      pattern: "/v2/repository/models/:model/unload",
      scope: "models",
      action: "model.unload",
      body: SMALL_BODY,
      handle: unload,
    },
  ]);
}

/** One that was never loaded is only a name. */
function indexEntry(model: Model, repository: ModelRepository): IndexEntry {
  const { name, version } = model.ref;
  const status = repository.statusOf(model);
  if (status === undefined) return { name };
  return { name, version, ...status };
}

/** Versions of which there is nothing to say are told once, and only when there is nothing to say of any. */
function withoutEchoes(entries: readonly IndexEntry[]): IndexEntry[] {
  const told = new Set(entries.filter(({ version }) => version !== undefined).map(({ name }) => name));
  return entries.filter(({ name, version }) => {
    if (version !== undefined) return true;
    const isFirst = !told.has(name);
    told.add(name);
    return isFirst;
  });
}

/** An empty body is an empty object. */
function optional<T>(request: Request, schema: z.ZodType<T>): T {
  return parseJson(request.body.length === 0 ? { body: Buffer.from("{}") } : request, schema);
}

function findModel(request: Request, principal: Principal, catalogue: Catalogue): Model {
  const name = param(request, "model");
  requireModel(principal, name);
  return catalogue.find(name);
}
