/** The SDK: everything that a program needs to use a legacygpu gateway. Runs in Node and in a browser. */

export type { ClusterHealth, ClusterMetrics, WorkerJson } from "@legacygpu/shared/api/cluster";
export type { CreateKey, KeyJson, Scope } from "@legacygpu/shared/api/keys";
export type { ModelJson } from "@legacygpu/shared/api/models";
export type {
  CreateTask,
  InferRequest,
  InferResponse,
  JsonTensor,
  TaskJson,
  TaskList,
} from "@legacygpu/shared/api/tasks";
export { type ErrorCode, LegacyGpuError } from "@legacygpu/shared/errors";
export { imageType } from "@legacygpu/shared/image-type";
export type { Manifest } from "@legacygpu/shared/manifest";
export type { Priority, StrategyName, TaskState, WorkerState } from "@legacygpu/shared/task";
export {
  type ClientOptions,
  type CreatedKey,
  type ImageOptions,
  LegacyGpuClient,
  type ListTasksQuery,
  resultOf,
} from "./client.ts";
export type { Fetch, FetchRequest, FetchResponse } from "./fetch-port.ts";
export { digestOf, type ModelFile, type PushModel } from "./push-model.ts";
export type { RetryPolicy } from "./retry.ts";
export type { WaitOptions } from "./wait.ts";
