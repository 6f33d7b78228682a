/** Single tasks, once they are submitted, and the dead letters among them; and inference that makes no task to ask for later. */

import { type InferRequest, type InferResponse, inferResponseSchema } from "@legacygpu/shared/api/inference";
import {
  deadLetterCountSchema,
  type TaskJson,
  type TaskList,
  taskJsonSchema,
  taskListSchema,
} from "@legacygpu/shared/api/tasks";
import type { DeadLetterSelection, ListDeadLettersQuery, ListTasksQuery } from "./queries.ts";
import type { Transport } from "./transport.ts";

export interface InferOptions {
  readonly version?: string;
  readonly signal?: AbortSignal;
  /** Refused with `requirement_unmet` unless a worker is connected that could run it. Default: it waits for one. */
  readonly noWait?: boolean;
}

/** As long as a synchronous inference may take. */
const INFER_TIMEOUT_MS = 300_000;

export class Tasks {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  get(id: string, signal?: AbortSignal): Promise<TaskJson> {
    return this.#transport.request({ method: "GET", path: pathOf(id) }, taskJsonSchema, signal);
  }

  explain(id: string, signal?: AbortSignal): Promise<TaskJson> {
    const call = { method: "GET", path: pathOf(id), query: { explain: 1 } } as const;
    return this.#transport.request(call, taskJsonSchema, signal);
  }

  result(id: string, signal?: AbortSignal): Promise<InferResponse> {
    const call = { method: "GET", path: `${pathOf(id)}/result`, isErrorAnAnswer: true } as const;
    return this.#transport.request(call, inferResponseSchema, signal);
  }

  infer(
    model: string,
    request: InferRequest,
    { version, signal, noWait = false }: InferOptions,
  ): Promise<InferResponse> {
    const ofVersion = version === undefined ? "" : `/versions/${encodeURIComponent(version)}`;
    const path = `/v2/models/${encodeURIComponent(model)}${ofVersion}/infer`;
    const json = noWait ? { ...request, parameters: { ...request.parameters, no_wait: true } } : request;
    const call = { method: "POST", path, json, timeoutMs: INFER_TIMEOUT_MS } as const;
    return this.#transport.request(call, inferResponseSchema, signal);
  }

  cancel(id: string, signal?: AbortSignal): Promise<TaskJson> {
    const call = { method: "POST", path: `${pathOf(id)}/cancel`, isIdempotent: true } as const;
    return this.#transport.request(call, taskJsonSchema, signal);
  }

  retry(id: string, signal?: AbortSignal): Promise<TaskJson> {
    return this.#transport.request({ method: "POST", path: `${pathOf(id)}/retry` }, taskJsonSchema, signal);
  }

  remove(id: string, signal?: AbortSignal): Promise<TaskJson> {
    return this.#transport.request({ method: "DELETE", path: pathOf(id) }, taskJsonSchema, signal);
  }

  list(query: ListTasksQuery, signal?: AbortSignal): Promise<TaskList> {
    return this.#page("/tasks", query, signal);
  }

  deadLetters(query: ListDeadLettersQuery, signal?: AbortSignal): Promise<TaskList> {
    return this.#page("/dead-letters", query, signal);
  }

  async ofDeadLetters(
    verb: "retry" | "purge",
    selection: DeadLetterSelection,
    signal?: AbortSignal,
  ): Promise<number> {
    const call = { method: "POST", path: `/dead-letters/${verb}`, json: selection } as const;
    return (await this.#transport.request(call, deadLetterCountSchema, signal)).count;
  }

  #page(path: string, query: ListTasksQuery, signal?: AbortSignal): Promise<TaskList> {
    return this.#transport.request({ method: "GET", path, query: { ...query } }, taskListSchema, signal);
  }
}

function pathOf(id: string): string {
  return `/tasks/${encodeURIComponent(id)}`;
}
