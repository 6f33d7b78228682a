/** The SDK: everything that a program needs to use a legacygpu gateway. Runs in Node and in a browser. */

export type { AddBatchItems, BatchJson, BatchResult, CreateBatch } from "@legacygpu/shared/api/batches";
export type {
  BalancingJson,
  ClusterHealth,
  ClusterMetrics,
  SiteJson,
  WorkerJson,
} from "@legacygpu/shared/api/cluster";
export type { DeploymentJson, PutDeployment } from "@legacygpu/shared/api/deployments";
export type {
  CreateJoinToken,
  EnrolledWorkerJson,
  JoinTokenJson,
} from "@legacygpu/shared/api/enrolment";
export type { InferRequest, InferResponse, JsonTensor } from "@legacygpu/shared/api/inference";
export type { CreateKey, KeyJson, RotateKey, Scope } from "@legacygpu/shared/api/keys";
export type { AliasJson, ModelDetails, ModelJson, RemovedModels } from "@legacygpu/shared/api/models";
export type { CreateTask, ModelQueueJson, TaskJson, TaskList } from "@legacygpu/shared/api/tasks";
export type { WebhookMessage } from "@legacygpu/shared/api/webhooks";
export { type ErrorCode, LegacyGpuError } from "@legacygpu/shared/errors";
export { imageType } from "@legacygpu/shared/image-type";
export type { Manifest } from "@legacygpu/shared/manifest";
export type {
  Durability,
  Priority,
  RetryCause,
  StrategyName,
  TaskState,
  WorkerState,
} from "@legacygpu/shared/task";
export type { CreatedKey } from "./access-admin.ts";
export { type BatchResultsOptions, endedIn } from "./batches.ts";
export { type ClientOptions, LegacyGpuClient } from "./client.ts";
export type { DeploymentAdmin } from "./deployments.ts";
export type { CreatedJoinToken, EnrolmentAdmin } from "./enrolment-admin.ts";
export type { Fetch, FetchRequest, FetchResponse } from "./fetch-port.ts";
export type { ModelCatalogue, RemoveModel } from "./model-catalogue.ts";
export { newTaskId } from "./new-ids.ts";
export type { ModelFile, PushProgress } from "./push-file.ts";
export { digestOf, type PushModel } from "./push-model.ts";
export type { DeadLetterSelection, ListDeadLettersQuery, ListTasksQuery } from "./queries.ts";
export { resultOf } from "./result-of.ts";
export type { RetryPolicy } from "./retry.ts";
export type { ImageOptions, SubmitOptions } from "./submit.ts";
export type { EventOptions, TaskEvent, TaskEventName } from "./task-events.ts";
export type { InferOptions } from "./tasks.ts";
export type { InputFile, UploadOptions, UploadProgress, UploadSource } from "./uploads.ts";
export { type ReceivedWebhook, verifyWebhook } from "./verify-webhook.ts";
export type { WaitOptions } from "./wait.ts";
