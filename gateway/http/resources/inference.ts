/** The Open Inference Protocol, version 2: metadata and synchronous inference with tensors in JSON. */

import { inferRequestSchema } from "@legacygpu/shared/api/tasks";
import { fail } from "@legacygpu/shared/errors";
import type { Priority } from "@legacygpu/shared/task";
import { VERSION } from "@legacygpu/shared/version";
import { type Principal, requireModel } from "../../auth/principal.ts";
import type { Catalogue, Model } from "../../models/catalogue.ts";
import type { Registry } from "../../registry/registry.ts";
import { inferResponse } from "../../tasks/task-json.ts";
import type { TaskService } from "../../tasks/task-service.ts";
import { parseOutputs, parseTensors } from "../../tasks/tensor-json.ts";
import { type Endpoint, json, param, parseJson } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";

/** A caller that gives no `timeout` is not kept longer than its own network library would wait. */
const DEFAULT_TIMEOUT_MS = 60_000;

export interface InferenceParts {
  readonly tasks: TaskService;
  readonly catalogue: Catalogue;
  readonly registry: Registry;
  readonly maxBodyBytes: number;
}

export function inferenceEndpoints({ tasks, catalogue, registry, maxBodyBytes }: InferenceParts): Endpoint[] {
  const server = { name: "legacygpu", version: VERSION, extensions: ["parameters", "schedule_policy"] };

  async function infer(request: Request, principal: Principal): Promise<Response> {
    const model = findModel(request, principal, catalogue);
    const { id, inputs, outputs, parameters } = parseJson(request, inferRequestSchema);
    const place = { model: model.ref.name, path: "inputs" };
    const inference = tasks.infer(principal, {
      model,
      input: { kind: "tensors", tensors: parseTensors(inputs, model.inputs, place) },
      outputs: parseOutputs(outputs, model.outputs, place),
      priority: readPriority(parameters?.priority),
      deadlineMs: readTimeoutMs(parameters?.timeout),
    });
    request.onHangUp(() => inference.cancel("The client hung up."));
    const task = await inference.done;
    if (task.output === undefined) throw fail("internal", `Task ${task.id} completed without an output.`);
    return json(200, inferResponse(model.ref, task.output, id), { "x-task-id": task.id });
  }

  const metadata = (request: Request, principal: Principal): Response => {
    const model = findModel(request, principal, catalogue);
    const isOneVersion = request.params.version !== undefined;
    const versions = isOneVersion ? [model] : catalogue.versions(model.ref.name);
    return json(200, {
      name: model.ref.name,
      versions: versions.map(({ ref }) => ref.version),
      platform: "onnxruntime_onnx",
      inputs: model.inputs,
      outputs: model.outputs,
    });
  };

  const ready = (request: Request, principal: Principal): Response => {
    const { name } = findModel(request, principal, catalogue).ref;
    if (registry.count("HEALTHY") > 0) return json(200, { name, ready: true });
    return json(503, { error: "no worker is connected", name, ready: false }, { "retry-after": "2" });
  };

  const inferBody = { kind: "buffer", limitBytes: maxBodyBytes } as const;
  const forModel = (suffix: string, endpoint: Omit<Endpoint, "pattern">): Endpoint[] => [
    { ...endpoint, pattern: `/v2/models/:model${suffix}` },
    { ...endpoint, pattern: `/v2/models/:model/versions/:version${suffix}` },
  ];
  return [
    { method: "GET", pattern: "/v2", handle: () => json(200, server) },
    ...forModel("", { method: "GET", scope: "read", handle: metadata }),
    ...forModel("/ready", { method: "GET", scope: "read", handle: ready }),
    ...forModel("/infer", { method: "POST", scope: "submit", body: inferBody, handle: infer }),
  ];
}

function findModel(request: Request, principal: Principal, catalogue: Catalogue): Model {
  const name = param(request, "model");
  requireModel(principal, name);
  return catalogue.find(name, request.params.version);
}

/** The protocol counts from 1, the highest; 0 is the default. Levels below our four are LOW. */
function readPriority(given: unknown): Priority {
  if (given === undefined || given === 0) return "NORMAL";
  if (typeof given !== "number" || !Number.isInteger(given) || given < 0) {
    throw fail("request_invalid", "parameters.priority: Unable to parse 'priority': a whole number from 0", {
      path: "parameters.priority",
    });
  }
  return (["CRITICAL", "HIGH", "NORMAL"] as const)[given - 1] ?? "LOW";
}

/** The protocol gives microseconds; 0 is no limit of the caller's own. */
function readTimeoutMs(given: unknown): number {
  if (given === undefined || given === 0) return DEFAULT_TIMEOUT_MS;
  if (typeof given !== "number" || !(given > 0)) {
    throw fail(
      "request_invalid",
      "parameters.timeout: Unable to parse 'timeout': microseconds, more than 0",
      {
        path: "parameters.timeout",
      },
    );
  }
  return given / 1000;
}
