/** The model catalogue beyond pushing: what a version consists of, aliases, removal. A name that cannot be one is `request_invalid`. */

import {
  type AliasJson,
  aliasJsonSchema,
  type ModelDetails,
  type ModelJson,
  modelDetailsSchema,
  modelListSchema,
  type RemovedModels,
  removedModelsSchema,
} from "@legacygpu/shared/api/models";
import { assertNames } from "./model-names.ts";
import type { Transport } from "./transport.ts";

export interface RemoveModel {
  /** Or an alias of it. Default: all versions. */
  readonly version?: string | undefined;
  /** Also while tasks wait for it or run it, which then fail, and while aliases point to it, which then go. */
  readonly isForced?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export class ModelCatalogue {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** All versions of one model, oldest first. @throws `model_not_found` */
  async versions(name: string, signal?: AbortSignal): Promise<ModelJson[]> {
    const call = { method: "GET", path: modelPath(name) } as const;
    return (await this.#transport.request(call, modelListSchema, signal)).models;
  }

  /** What its file and its manifest say. @param version or an alias of it; default: the newest. @throws `model_not_found` */
  async describe(name: string, version = "latest", signal?: AbortSignal): Promise<ModelDetails> {
    const call = { method: "GET", path: versionPath(name, version) } as const;
    return this.#transport.request(call, modelDetailsSchema, signal);
  }

  /** Lets an alias point to a version, at once for everybody. @throws `model_not_found`, `request_invalid` */
  async setAlias(name: string, alias: string, version: string, signal?: AbortSignal): Promise<AliasJson> {
    const call = { method: "PUT", path: aliasPath(name, alias), json: { version } } as const;
    return this.#transport.request(call, aliasJsonSchema, signal);
  }

  /** @throws `model_not_found` */
  async removeAlias(name: string, alias: string, signal?: AbortSignal): Promise<void> {
    await this.#transport.exchange({ method: "DELETE", path: aliasPath(name, alias) }, signal);
  }

  /** @throws `model_not_found`, `model_in_use` */
  async remove(name: string, { version, isForced, signal }: RemoveModel = {}): Promise<RemovedModels> {
    const path = version === undefined ? modelPath(name) : versionPath(name, version);
    const query = { force: isForced === true ? "true" : undefined };
    // Whoever asks wants to know now that the model is in use.
    const call = { method: "DELETE", path, query, maxTries: 1 } as const;
    return this.#transport.request(call, removedModelsSchema, signal);
  }
}

/** @throws `request_invalid` */
function versionPath(name: string, version: string): string {
  return `${modelPath(name)}/versions/${checked({ version })}`;
}

/** @throws `request_invalid` */
function aliasPath(name: string, alias: string): string {
  return `${modelPath(name)}/aliases/${checked({ alias })}`;
}

/** @throws `request_invalid` */
function modelPath(name: string): string {
  return `/models/${checked({ name })}`;
}

function checked(given: Parameters<typeof assertNames>[0]): string {
  assertNames(given);
  return Object.values(given)[0] ?? "";
}
