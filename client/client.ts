/** The gateway's HTTP API as methods. Runs in Node and in a browser. */

import {
  balancingSetSchema,
  type ClusterHealth,
  type ClusterMetrics,
  clusterHealthSchema,
  clusterMetricsSchema,
  type WorkerJson,
  workerListSchema,
} from "@legacygpu/shared/api/cluster";
import {
  type CreateKey,
  createdKeySchema,
  type KeyJson,
  keyJsonSchema,
  keyListSchema,
} from "@legacygpu/shared/api/keys";
import { type ModelJson, modelListSchema } from "@legacygpu/shared/api/models";
import {
  type CreateTask,
  type InferRequest,
  type InferResponse,
  inferResponseSchema,
  type TaskJson,
  type TaskList,
  taskJsonSchema,
  taskListSchema,
} from "@legacygpu/shared/api/tasks";
import type { Clock, Random } from "@legacygpu/shared/clock";
import { fail, fromWireError } from "@legacygpu/shared/errors";
import { imageType } from "@legacygpu/shared/image-type";
import type { Priority, StrategyName, TaskState } from "@legacygpu/shared/task";
import { z } from "zod";
import { type Fetch, platformFetch } from "./fetch-port.ts";
import { type PushModel, pushModel } from "./push-model.ts";
import { DEFAULT_RETRY, type RetryPolicy } from "./retry.ts";
import { Transport } from "./transport.ts";
import { type WaitOptions, waitForTask } from "./wait.ts";
import { waitingClock } from "./waiting-clock.ts";

export interface ClientOptions {
  /** `https://HOST:PORT` of a gateway. */
  readonly url: string;
  /** An API key (`lgk_…`). */
  readonly key?: string;
  /** Default: the platform's. For a private CA in Node: `pinnedFetch({ caPem })`. */
  readonly fetch?: Fetch;
  /** Default: 5 tries, 200 ms to 5 s between them. */
  readonly retry?: Partial<RetryPolicy>;
  readonly clock?: Clock;
  readonly random?: Random;
}

export interface ImageOptions {
  /** Default: told from the first bytes. */
  readonly contentType?: string;
  readonly version?: string;
  readonly priority?: Priority;
  /** From now to the final answer. */
  readonly deadlineMs?: number;
}

export interface ListTasksQuery {
  readonly state?: TaskState;
  readonly model?: string;
  /** 1 to 1000. Default 100. */
  readonly limit?: number;
  /** `next_cursor` of the page before. */
  readonly cursor?: string;
}

export type CreatedKey = z.infer<typeof createdKeySchema>;

const segment = encodeURIComponent;

/**
 * Every method throws a LegacyGpuError; match on its `code`. What the network makes fail is `gateway_unreachable`,
 * `certificate_invalid` or `timed_out`; an aborted call throws `signal.reason`.
 */
export class LegacyGpuClient {
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(options: ClientOptions) {
    this.#clock = options.clock ?? waitingClock;
    this.#random = options.random ?? Math.random;
    this.#transport = new Transport({
      url: options.url,
      key: options.key,
      fetch: options.fetch ?? platformFetch,
      retry: { ...DEFAULT_RETRY, ...options.retry },
      clock: this.#clock,
      random: this.#random,
    });
  }

  /** Accepts a task for later; returns as soon as it is stored. */
  submit(task: CreateTask, signal?: AbortSignal): Promise<TaskJson> {
    return this.#transport.request({ method: "POST", path: "/tasks", json: task }, taskJsonSchema, signal);
  }

  /**
   * Like {@link submit}, with the bytes of a picture file.
   *
   * @throws `image_invalid` when no content type is given and the bytes are no known picture.
   */
  async submitImage(
    model: string,
    bytes: Uint8Array,
    options: ImageOptions = {},
    signal?: AbortSignal,
  ): Promise<TaskJson> {
    const contentType = options.contentType ?? imageType(bytes);
    if (contentType === undefined) {
      throw fail(
        "image_invalid",
        "The bytes are no picture of a known kind; give its contentType if they are.",
      );
    }
    const { version, priority, deadlineMs } = options;
    const raw = { contentType, sizeBytes: bytes.byteLength, open: () => bytes };
    const query = { model, version, priority, deadline_ms: deadlineMs };
    return this.#transport.request({ method: "POST", path: "/tasks", query, raw }, taskJsonSchema, signal);
  }

  get(id: string, signal?: AbortSignal): Promise<TaskJson> {
    return this.#transport.request({ method: "GET", path: `/tasks/${segment(id)}` }, taskJsonSchema, signal);
  }

  /**
   * Returns the task once it is COMPLETED, FAILED, CANCELLED or TIMED_OUT; see {@link resultOf}. Bridges a gateway that is away
   * for up to a minute.
   *
   * @throws `timed_out` after `timeoutMs`; the task goes on.
   */
  wait(id: string, options: WaitOptions = {}): Promise<TaskJson> {
    const poll = (task: string, waitSeconds: number, signal: AbortSignal): Promise<TaskJson> => {
      const call = {
        method: "GET",
        path: `/tasks/${segment(task)}`,
        query: { wait: waitSeconds },
        timeoutMs: (waitSeconds + 15) * 1000,
        maxTries: 1,
      } as const;
      return this.#transport.request(call, taskJsonSchema, signal);
    };
    return waitForTask(id, options, { poll, clock: this.#clock, random: this.#random });
  }

  /** {@link submit}, then {@link wait}. */
  async run(task: CreateTask, options: WaitOptions = {}): Promise<TaskJson> {
    const { id } = await this.submit(task, options.signal);
    return this.wait(id, options);
  }

  /** One synchronous inference: not stored, no id to ask for later. */
  infer(
    model: string,
    request: InferRequest,
    { version, signal }: { readonly version?: string; readonly signal?: AbortSignal } = {},
  ): Promise<InferResponse> {
    const ofVersion = version === undefined ? "" : `/versions/${segment(version)}`;
    const path = `/v2/models/${segment(model)}${ofVersion}/infer`;
    const call = { method: "POST", path, json: request, timeoutMs: 300_000 } as const;
    return this.#transport.request(call, inferResponseSchema, signal);
  }

  /** Of a task that has ended it returns the task unchanged. */
  cancel(id: string, signal?: AbortSignal): Promise<TaskJson> {
    const call = { method: "POST", path: `/tasks/${segment(id)}/cancel`, isIdempotent: true } as const;
    return this.#transport.request(call, taskJsonSchema, signal);
  }

  /** Newest first, one page. */
  list(query: ListTasksQuery = {}, signal?: AbortSignal): Promise<TaskList> {
    return this.#transport.request(
      { method: "GET", path: "/tasks", query: { ...query } },
      taskListSchema,
      signal,
    );
  }

  health(signal?: AbortSignal): Promise<ClusterHealth> {
    return this.#transport.request({ method: "GET", path: "/cluster/health" }, clusterHealthSchema, signal);
  }

  metrics(signal?: AbortSignal): Promise<ClusterMetrics> {
    return this.#transport.request({ method: "GET", path: "/cluster/metrics" }, clusterMetricsSchema, signal);
  }

  async workers(signal?: AbortSignal): Promise<WorkerJson[]> {
    const call = { method: "GET", path: "/cluster/workers" } as const;
    return (await this.#transport.request(call, workerListSchema, signal)).workers;
  }

  /** @returns the strategy now in use, by its full name. */
  async setStrategy(strategy: string, signal?: AbortSignal): Promise<StrategyName> {
    const call = { method: "PUT", path: "/cluster/config/balancing", json: { strategy } } as const;
    return (await this.#transport.request(call, balancingSetSchema, signal)).new_strategy;
  }

  async models(signal?: AbortSignal): Promise<ModelJson[]> {
    return (await this.#transport.request({ method: "GET", path: "/models" }, modelListSchema, signal))
      .models;
  }

  /** @throws `model_version_exists` when `version` is given and has other contents; `model_invalid`. */
  pushModel(model: PushModel): Promise<ModelJson> {
    return pushModel(this.#transport, model);
  }

  /** The answer holds the key itself, this once. */
  createKey(key: CreateKey, signal?: AbortSignal): Promise<CreatedKey> {
    return this.#transport.request({ method: "POST", path: "/keys", json: key }, createdKeySchema, signal);
  }

  async listKeys(signal?: AbortSignal): Promise<KeyJson[]> {
    return (await this.#transport.request({ method: "GET", path: "/keys" }, keyListSchema, signal)).keys;
  }

  /** @returns the key as it is now, where the gateway tells it. */
  revokeKey(id: string, signal?: AbortSignal): Promise<KeyJson | undefined> {
    const answer = z.union([keyJsonSchema, z.unknown().transform(() => undefined)]);
    return this.#transport.request({ method: "DELETE", path: `/keys/${segment(id)}` }, answer, signal);
  }
}

/**
 * The result of a task that is COMPLETED.
 *
 * @throws the task's own error when it is not.
 */
export function resultOf(task: TaskJson): InferResponse {
  if (task.result !== null) return task.result;
  if (task.error !== null) throw fromWireError(task.error);
  throw fail("unknown", `Task ${task.id} is ${task.status} and has no result.`, { task: task.id });
}
