/** The Open Inference Protocol, version 2: what the server and its models are, and synchronous inference with tensors in JSON, as bytes or both. */

import { protocolRequestSchema } from "@legacygpu/shared/api/inference";
import { fail } from "@legacygpu/shared/errors";
import { VERSION } from "@legacygpu/shared/version";
import { mayUseModel, type Principal, requireModel } from "../../auth/principal.ts";
import { checkBatch } from "../../inference/batch-limit.ts";
import { compressed, decompressed } from "../../inference/compression.ts";
import { givenTensors } from "../../inference/given-tensors.ts";
import { inferenceAnswer } from "../../inference/inference-answer.ts";
import { modelConfig, modelMetadata } from "../../inference/model-config.ts";
import type { ModelRepository } from "../../inference/model-repository.ts";
import { rawTensor } from "../../inference/raw-input.ts";
import { notReady } from "../../inference/refusal.ts";
import { JSON_LENGTH_HEADER, splitBody } from "../../inference/request-body.ts";
import { type RequestParameters, readParameters } from "../../inference/request-parameters.ts";
import type { InferenceStatistics } from "../../inference/statistics.ts";
import { type WantedOutput, wantedOutputs } from "../../inference/wanted-outputs.ts";
import type { Catalogue, Model } from "../../models/catalogue.ts";
import type { TaskService } from "../../tasks/task-service.ts";
import { type GivenTensor, parseTensors } from "../../tasks/tensor-json.ts";
import { type Endpoint, json, param, parseJson } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";
import { withRefusals } from "./refusals.ts";

/** Those that are really there, each whole. */
const EXTENSIONS = [
  "binary_tensor_data",
  "classification",
  "logging",
  "model_configuration",
  "model_repository",
  "parameters",
  "schedule_policy",
  "statistics",
];
const NOT_LOADED_RETRY_SECONDS = 2;

export interface InferenceParts {
  readonly tasks: TaskService;
  readonly catalogue: Catalogue;
  readonly repository: ModelRepository;
  readonly statistics: InferenceStatistics;
  /** Default: no model is deployed. */
  readonly placement?:
    | {
        /** @throws `model_loading` when the model is deployed and cannot be ready in time */
        assertInTime(model: Model["ref"], timeoutMs: number): void;
      }
    | undefined;
  readonly maxBodyBytes: number;
}

/** What is asked for, whichever way it was written. */
interface InferenceOrder {
  readonly id: string | null | undefined;
  readonly tensors: readonly GivenTensor[];
  readonly wanted: readonly WantedOutput[];
  readonly parameters: RequestParameters;
}

export function inferenceEndpoints(parts: InferenceParts): Endpoint[] {
  const { tasks, catalogue, repository, statistics, placement, maxBodyBytes } = parts;

  async function infer(request: Request, principal: Principal): Promise<Response> {
    const model = findModel(request, principal, catalogue);
    const { headers } = request;
    const body = decompressed(request.body, headers.get("content-encoding"), maxBodyBytes);
    const order = readOrder(body instanceof Promise ? await body : body, headers, model);
    const { priority, timeoutMs, noWait } = order.parameters;
    const tensors = parseTensors(order.tensors, model.inputs, { model: model.ref.name, path: "inputs" });
    checkBatch(tensors, model);
    placement?.assertInTime(model.ref, timeoutMs);
    const inference = tasks.infer(principal, {
      model,
      input: { kind: "tensors", tensors },
      outputs: namesToAskFor(order.wanted, model),
      priority,
      deadlineMs: timeoutMs,
      noWait,
    });
    request.onHangUp(() => inference.cancel("The client hung up."));
    const task = await inference.done;
    if (task.output === undefined) throw fail("internal", `Task ${task.id} completed without an output.`);
    const answer = inferenceAnswer(model, task.output, order.wanted, order.id);
    const packed = compressed(answer, headers.get("accept-encoding"));
    const { headers: own, body: content } = packed instanceof Promise ? await packed : packed;
    return { status: 200, headers: { ...own, "x-task-id": task.id }, body: content };
  }

  const metadata = (request: Request, principal: Principal): Response => {
    const model = findModel(request, principal, catalogue);
    const isOneVersion = request.params.version !== undefined;
    return json(200, modelMetadata(model, isOneVersion ? [model] : catalogue.versions(model.ref.name)));
  };

  const ready = (request: Request, principal: Principal): Response => {
    const model = findModel(request, principal, catalogue);
    const { name, version } = model.ref;
    const candidates = request.params.version === undefined ? catalogue.versions(name) : [model];
    if (candidates.some((each) => repository.isReady(each))) return json(200, { name, ready: true });
    const text = `model '${name}' version ${version} is not at ready state: no worker has it loaded; the first request loads it, or POST /v2/repository/models/${name}/load`;
    throw notReady(text, NOT_LOADED_RETRY_SECONDS);
  };

  const stats = (request: Request, principal: Principal): Response => {
    const model = findModel(request, principal, catalogue);
    const models = request.params.version === undefined ? catalogue.versions(model.ref.name) : [model];
    return json(200, { model_stats: models.map(({ ref }) => statistics.of(ref)) });
  };

  const allStats = (_request: Request, principal: Principal): Response => {
    const models = catalogue.list().filter(({ ref }) => mayUseModel(principal, ref.name));
    return json(200, { model_stats: models.map(({ ref }) => statistics.of(ref)) });
  };

  const config = (request: Request, principal: Principal): Response =>
    json(200, modelConfig(findModel(request, principal, catalogue)));

  const server = { name: "legacygpu", version: VERSION, extensions: EXTENSIONS };
  const inferBody = { kind: "buffer", limitBytes: maxBodyBytes } as const;
  const forModel = (suffix: string, endpoint: Omit<Endpoint, "pattern">): Endpoint[] => [
    { ...endpoint, pattern: `/v2/models/:model${suffix}` },
    { ...endpoint, pattern: `/v2/models/:model/versions/:version${suffix}` },
  ];
  return withRefusals([
    { method: "GET", pattern: "/v2", handle: () => json(200, server) },
    // Before the models: none can have this name.
    { method: "GET", pattern: "/v2/models/stats", scope: "read", handle: allStats },
    ...forModel("", { method: "GET", scope: "read", handle: metadata }),
    ...forModel("/ready", { method: "GET", scope: "read", handle: ready }),
    ...forModel("/config", { method: "GET", scope: "read", handle: config }),
    ...forModel("/stats", { method: "GET", scope: "read", handle: stats }),
    ...forModel("/infer", { method: "POST", scope: "submit", body: inferBody, handle: infer }),
  ]);
}

/** Undefined stands for all, except with a model that ranks classes: that one sends the scores only to who names them. */
function namesToAskFor(wanted: readonly WantedOutput[], { outputs, manifest }: Model): string[] | undefined {
  const isAll = wanted.length === outputs.length && manifest.postprocess === undefined;
  return isAll ? undefined : wanted.map(({ name }) => name);
}

function readOrder(body: Buffer, headers: Request["headers"], model: Model): InferenceOrder {
  const { name } = model.ref;
  const split = splitBody(body, headers.get(JSON_LENGTH_HEADER));
  if (split.kind === "raw") {
    return {
      id: undefined,
      tensors: [rawTensor(model, split.bytes)],
      wanted: wantedOutputs(undefined, model, true),
      parameters: readParameters(undefined, name),
    };
  }
  const given = parseJson({ body: split.json }, protocolRequestSchema);
  const parameters = readParameters(given.parameters, name);
  return {
    id: given.id,
    tensors: givenTensors(given.inputs, split.binary, name),
    wanted: wantedOutputs(given.outputs, model, parameters.isBinaryOutput),
    parameters,
  };
}

function findModel(request: Request, principal: Principal, catalogue: Catalogue): Model {
  const name = param(request, "model");
  requireModel(principal, name);
  return catalogue.find(name, request.params.version);
}
