/** The gateway's HTTP API as methods. Runs in Node and in a browser. */

import type { AuditPage, AuditQuery, AuditVerification } from "@legacygpu/shared/api/audit";
import type { AddBatchItems, BatchJson, BatchResult, CreateBatch } from "@legacygpu/shared/api/batches";
import type {
  BalancingJson,
  ClusterHealth,
  ClusterMetrics,
  SiteJson,
  WorkerJson,
} from "@legacygpu/shared/api/cluster";
import type { InferRequest, InferResponse } from "@legacygpu/shared/api/inference";
import type { CreateKey, KeyJson, RotateKey } from "@legacygpu/shared/api/keys";
import { type ModelJson, modelListSchema } from "@legacygpu/shared/api/models";
import type { CreateTask, ModelQueueJson, TaskJson, TaskList } from "@legacygpu/shared/api/tasks";
import type { UsageJson } from "@legacygpu/shared/api/usage";
import type { Clock, Random } from "@legacygpu/shared/clock";
import type { StrategyName } from "@legacygpu/shared/task";
import { AccessAdmin, type CreatedKey } from "./access-admin.ts";
import { Batches, type BatchResultsOptions } from "./batches.ts";
import { Cluster } from "./cluster.ts";
import { DeploymentAdmin } from "./deployments.ts";
import { EnrolmentAdmin } from "./enrolment-admin.ts";
import { type Fetch, platformFetch } from "./fetch-port.ts";
import { ModelCatalogue } from "./model-catalogue.ts";
import { ModelQueues } from "./model-queues.ts";
import type { WaitTools } from "./patience.ts";
import { type PushModel, pushModel } from "./push-model.ts";
import type { DeadLetterSelection, ListDeadLettersQuery, ListTasksQuery } from "./queries.ts";
import { DEFAULT_RETRY, type RetryPolicy } from "./retry.ts";
import { type ImageOptions, type SubmitOptions, submitImage, submitTask } from "./submit.ts";
import { type EventOptions, type TaskEvent, taskEvents } from "./task-events.ts";
import { waitForTask } from "./task-wait.ts";
import { type InferOptions, Tasks } from "./tasks.ts";
import { tokenSource } from "./token-source.ts";
import { Transport } from "./transport.ts";
import { type UploadOptions, type UploadSource, uploadInput } from "./uploads.ts";
import type { WaitOptions } from "./wait.ts";
import { waitingClock } from "./waiting-clock.ts";

export interface ClientOptions {
  /** `https://HOST:PORT` of a gateway. */
  readonly url: string;
  /** An API key (`lgk_…`). */
  readonly key?: string;
  /**
   * key (the default): every request carries the key. token: the key is only sent to get tokens, which are good for a quarter of an hour
   * and are renewed in time.
   */
  readonly auth?: "key" | "token";
  /** Instead of a key: your own token, asked for at every request, and once more when the gateway does not accept it. */
  readonly token?: () => Promise<string> | string;
  /** Default: the platform's. For a private CA in Node: `pinnedFetch({ caPem })`. */
  readonly fetch?: Fetch;
  /** Default: 5 tries, 200 ms to 5 s between them. */
  readonly retry?: Partial<RetryPolicy>;
  readonly clock?: Clock;
  readonly random?: Random;
}

/**
 * Every method throws a LegacyGpuError; match on its `code`. What the network makes fail is `gateway_unreachable`,
 * `certificate_invalid` or `timed_out`; an aborted call throws `signal.reason`.
 */
export class LegacyGpuClient {
  /** For administrators: join tokens and the workers that came with them. */
  readonly enrolment: EnrolmentAdmin;
  /** Versions and aliases of models in detail, and their removal. */
  readonly catalogue: ModelCatalogue;
  /** On how many workers models are kept loaded. */
  readonly deployments: DeploymentAdmin;
  readonly #transport: Transport;
  readonly #tools: WaitTools;
  readonly #tasks: Tasks;
  readonly #batches: Batches;
  readonly #queues: ModelQueues;
  readonly #cluster: Cluster;
  readonly #access: AccessAdmin;

  constructor(options: ClientOptions) {
    this.#tools = { clock: options.clock ?? waitingClock, random: options.random ?? Math.random };
    const direct = {
      url: options.url,
      key: options.key,
      fetch: options.fetch ?? platformFetch,
      retry: { ...DEFAULT_RETRY, ...options.retry },
      ...this.#tools,
    };
    const keyed = new Transport(direct);
    const tokens = tokenSource(options, keyed, this.#tools.clock);
    this.#transport = new Transport({ ...direct, tokens });
    // With the key itself where there is one: a token may make nothing that would outlive it.
    const lasting = options.key === undefined ? this.#transport : keyed;
    this.#tasks = new Tasks(this.#transport);
    this.#batches = new Batches(this.#transport, this.#tools);
    this.#queues = new ModelQueues(this.#transport);
    this.#cluster = new Cluster(this.#transport);
    this.#access = new AccessAdmin(this.#transport, lasting);
    this.enrolment = new EnrolmentAdmin(lasting);
    this.catalogue = new ModelCatalogue(this.#transport);
    this.deployments = new DeploymentAdmin(this.#transport);
  }

  /** Accepts a task for later; returns as soon as it is stored. Is sent again until it is answered, and never makes a second task. */
  submit(task: CreateTask, options: SubmitOptions = {}, signal?: AbortSignal): Promise<TaskJson> {
    return submitTask(this.#transport, task, options, signal);
  }

  /**
   * Like {@link submit}, with the bytes of a picture file.
   *
   * @throws `image_invalid` when no content type is given and the bytes are no known picture.
   */
  submitImage(
    model: string,
    bytes: Uint8Array,
    options: ImageOptions = {},
    signal?: AbortSignal,
  ): Promise<TaskJson> {
    return submitImage(this.#transport, model, bytes, options, signal);
  }

  /**
   * Sends a large input in parts that survive a broken link; `{upload: id}` is then the input of as many tasks as you like, for a day.
   *
   * @returns its id.
   */
  upload(source: UploadSource, options: UploadOptions = {}): Promise<string> {
    return uploadInput(source, options, { transport: this.#transport, ...this.#tools });
  }

  get(id: string, signal?: AbortSignal): Promise<TaskJson> {
    return this.#tasks.get(id, signal);
  }

  /**
   * The task with its `choice`: which workers there were, what each would have cost, and why one was chosen. Of a task that waits as it is now; of one
   * that was sent only when it was submitted with `explain`.
   */
  explain(id: string, signal?: AbortSignal): Promise<TaskJson> {
    return this.#tasks.explain(id, signal);
  }

  /**
   * Returns the task once it is COMPLETED, FAILED, CANCELLED or TIMED_OUT; see `resultOf`. Bridges a gateway that is away
   * for up to a minute.
   *
   * @throws `timed_out` after `timeoutMs`; the task goes on.
   */
  wait(id: string, options: WaitOptions = {}): Promise<TaskJson> {
    return waitForTask(this.#transport, id, options, this.#tools);
  }

  /** {@link submit}, then {@link wait}. */
  async run(task: CreateTask, options: WaitOptions = {}): Promise<TaskJson> {
    const { id } = await this.submit(task, {}, options.signal);
    return this.wait(id, options);
  }

  /**
   * The result alone, however large it is.
   *
   * @throws `task_not_finished`, `result_expired`; the task's own error when it did not complete.
   */
  result(id: string, signal?: AbortSignal): Promise<InferResponse> {
    return this.#tasks.result(id, signal);
  }

  /**
   * What happens to a task, from its beginning on or after an event that is known, until it has ended. Goes on by itself when the connection
   * breaks; bridges a gateway that is away for up to a minute.
   */
  events(id: string, options: EventOptions = {}): AsyncGenerator<TaskEvent, void> {
    return taskEvents(this.#transport, id, options, this.#tools);
  }

  /** One synchronous inference: not stored, no id to ask for later. */
  infer(model: string, request: InferRequest, options: InferOptions = {}): Promise<InferResponse> {
    return this.#tasks.infer(model, request, options);
  }

  /** Of a task that has ended it returns the task unchanged. */
  cancel(id: string, signal?: AbortSignal): Promise<TaskJson> {
    return this.#tasks.cancel(id, signal);
  }

  /** Another try for a task that FAILED or TIMED_OUT, under its id. @throws `task_not_retryable` */
  retry(id: string, signal?: AbortSignal): Promise<TaskJson> {
    return this.#tasks.retry(id, signal);
  }

  /** Forgets input and output of a task now; cancels it first if it has not ended. */
  remove(id: string, signal?: AbortSignal): Promise<TaskJson> {
    return this.#tasks.remove(id, signal);
  }

  /** Newest first, one page, without results. */
  list(query: ListTasksQuery = {}, signal?: AbortSignal): Promise<TaskList> {
    return this.#tasks.list(query, signal);
  }

  /** Tasks that automatic retries have given up; newest first, one page. */
  deadLetters(query: ListDeadLettersQuery = {}, signal?: AbortSignal): Promise<TaskList> {
    return this.#tasks.deadLetters(query, signal);
  }

  /** Another try for dead letters; without a selection for all. @returns how many. */
  retryDeadLetters(selection: DeadLetterSelection = {}, signal?: AbortSignal): Promise<number> {
    return this.#tasks.ofDeadLetters("retry", selection, signal);
  }

  /** Forgets input and output of dead letters; without a selection of all. @returns how many. */
  purgeDeadLetters(selection: DeadLetterSelection = {}, signal?: AbortSignal): Promise<number> {
    return this.#tasks.ofDeadLetters("purge", selection, signal);
  }

  /** Many inputs at once: up to 10,000 items in one call, and as many bytes as the gateway takes in one body. */
  createBatch(batch: CreateBatch, signal?: AbortSignal): Promise<BatchJson> {
    return this.#batches.create(batch, signal);
  }

  addToBatch(id: string, items: AddBatchItems["items"], signal?: AbortSignal): Promise<BatchJson> {
    return this.#batches.add(id, items, signal);
  }

  batch(id: string, signal?: AbortSignal): Promise<BatchJson> {
    return this.#batches.get(id, signal);
  }

  /** In the order of the items. */
  batchResults(id: string, options: BatchResultsOptions = {}): AsyncGenerator<BatchResult, void> {
    return this.#batches.results(id, options);
  }

  /** Cancels every task of the batch that has not ended. */
  cancelBatch(id: string, signal?: AbortSignal): Promise<BatchJson> {
    return this.#batches.cancel(id, signal);
  }

  /** Returns the batch once every task of it has ended, in whatever state. Otherwise like {@link wait}. */
  waitForBatch(id: string, options: WaitOptions<BatchJson> = {}): Promise<BatchJson> {
    return this.#batches.wait(id, options);
  }

  /** What waits for a model, and who could run it. */
  queue(model: string, signal?: AbortSignal): Promise<ModelQueueJson> {
    return this.#queues.get(model, signal);
  }

  /** Tasks are still accepted but not handed out. */
  pauseQueue(model: string, signal?: AbortSignal): Promise<ModelQueueJson> {
    return this.#queues.switch(model, "pause", signal);
  }

  resumeQueue(model: string, signal?: AbortSignal): Promise<ModelQueueJson> {
    return this.#queues.switch(model, "resume", signal);
  }

  /** Cancels every task that waits for the model. */
  purgeQueue(model: string, signal?: AbortSignal): Promise<ModelQueueJson> {
    return this.#queues.purge(model, signal);
  }

  health(signal?: AbortSignal): Promise<ClusterHealth> {
    return this.#cluster.health(signal);
  }

  metrics(signal?: AbortSignal): Promise<ClusterMetrics> {
    return this.#cluster.metrics(signal);
  }

  /** What the caller's tenant has used today, and may use. @param tenant another one's; for administrators. */
  usage(tenant?: string, signal?: AbortSignal): Promise<UsageJson> {
    return this.#access.usage(tenant, signal);
  }

  workers(signal?: AbortSignal): Promise<WorkerJson[]> {
    return this.#cluster.workers(signal);
  }

  /** The sites of the workers that are connected, or were lately, and the path to each. */
  sites(signal?: AbortSignal): Promise<SiteJson[]> {
    return this.#cluster.sites(signal);
  }

  /** Which strategy chooses workers: for all models, and for those that have one of their own. */
  balancing(signal?: AbortSignal): Promise<BalancingJson> {
    return this.#cluster.balancing(signal);
  }

  /** @param strategy null: the configured one again. @returns the strategy now in use, by its full name. */
  setStrategy(strategy: string | null, signal?: AbortSignal): Promise<StrategyName> {
    return this.#cluster.setBalancing({ strategy }, signal);
  }

  /** A strategy for one model alone. @param strategy null: that of all the others again. @returns the one now in use for the model. */
  overrideStrategy(model: string, strategy: string | null, signal?: AbortSignal): Promise<StrategyName> {
    return this.#cluster.setBalancing({ strategy, model }, signal);
  }

  async models(signal?: AbortSignal): Promise<ModelJson[]> {
    const call = { method: "GET", path: "/models" } as const;
    return (await this.#transport.request(call, modelListSchema, signal)).models;
  }

  /** @throws `model_version_exists` when `version` is given and has other contents; `model_invalid`. */
  pushModel(model: PushModel): Promise<ModelJson> {
    return pushModel({ transport: this.#transport, ...this.#tools }, model);
  }

  /** The answer holds the key itself, this once. */
  createKey(key: CreateKey, signal?: AbortSignal): Promise<CreatedKey> {
    return this.#access.createKey(key, signal);
  }

  listKeys(signal?: AbortSignal): Promise<KeyJson[]> {
    return this.#access.listKeys(signal);
  }

  /**
   * A key in the place of another, which lives on for a while (default: a day). The answer holds the new key itself, this once.
   *
   * @throws `key_not_found`; `request_invalid` when the key is no longer in force.
   */
  rotateKey(id: string, rotation: RotateKey = {}, signal?: AbortSignal): Promise<CreatedKey> {
    return this.#access.rotateKey(id, rotation, signal);
  }

  /** @returns the key as it is now, where the gateway tells it. */
  revokeKey(id: string, signal?: AbortSignal): Promise<KeyJson | undefined> {
    return this.#access.revokeKey(id, signal);
  }

  /** Who did what, newest first. */
  audit(query: AuditQuery = {}, signal?: AbortSignal): Promise<AuditPage> {
    return this.#access.audit(query, signal);
  }

  /** Reads the whole audit log and checks its chain. */
  verifyAudit(signal?: AbortSignal): Promise<AuditVerification> {
    return this.#access.verifyAudit(signal);
  }
}
