/** Deployments: how many workers are to have a model loaded. A name that cannot be one is `request_invalid`. */

import {
  type DeploymentJson,
  deploymentJsonSchema,
  deploymentListSchema,
  type PutDeployment,
} from "@legacygpu/shared/api/deployments";
import { assertNames } from "./model-names.ts";
import type { Transport } from "./transport.ts";

export class DeploymentAdmin {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Makes the deployment of a model, or puts another in its place; returns before anything is loaded. @throws `model_not_found`, `request_invalid` */
  put(model: string, deployment: PutDeployment = {}, signal?: AbortSignal): Promise<DeploymentJson> {
    const call = { method: "PUT", path: pathOf(model), json: deployment } as const;
    return this.#transport.request(call, deploymentJsonSchema, signal);
  }

  /** @throws `deployment_not_found` */
  get(model: string, signal?: AbortSignal): Promise<DeploymentJson> {
    return this.#transport.request({ method: "GET", path: pathOf(model) }, deploymentJsonSchema, signal);
  }

  async list(signal?: AbortSignal): Promise<DeploymentJson[]> {
    const call = { method: "GET", path: "/deployments" } as const;
    return (await this.#transport.request(call, deploymentListSchema, signal)).deployments;
  }

  /** The model is unloaded where it is idle; from then on workers load it when they first run it. @throws `deployment_not_found` */
  async remove(model: string, signal?: AbortSignal): Promise<void> {
    await this.#transport.exchange({ method: "DELETE", path: pathOf(model) }, signal);
  }
}

/** @throws `request_invalid` */
function pathOf(name: string): string {
  assertNames({ name });
  return `/models/${name}/deployment`;
}
