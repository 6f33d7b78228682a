/** What waits for a model. */

import { type ModelQueueJson, modelQueueSchema } from "@legacygpu/shared/api/tasks";
import type { Transport } from "./transport.ts";

export class ModelQueues {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  get(model: string, signal?: AbortSignal): Promise<ModelQueueJson> {
    return this.#transport.request({ method: "GET", path: pathOf(model) }, modelQueueSchema, signal);
  }

  switch(model: string, verb: "pause" | "resume", signal?: AbortSignal): Promise<ModelQueueJson> {
    const call = { method: "POST", path: `${pathOf(model)}/${verb}`, isIdempotent: true } as const;
    return this.#transport.request(call, modelQueueSchema, signal);
  }

  purge(model: string, signal?: AbortSignal): Promise<ModelQueueJson> {
    const call = { method: "POST", path: `${pathOf(model)}/purge` } as const;
    return this.#transport.request(call, modelQueueSchema, signal);
  }
}

function pathOf(model: string): string {
  return `/models/${encodeURIComponent(model)}/queue`;
}
