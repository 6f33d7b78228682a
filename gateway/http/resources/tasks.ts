/** Tasks: submitted with 202, kept, looked up, waited for, cancelled. */

import {
  createTaskSchema,
  deadlineMsSchema,
  listTasksQuerySchema,
  prioritySchema,
} from "@legacygpu/shared/api/tasks";
import { fail } from "@legacygpu/shared/errors";
import { imageType } from "@legacygpu/shared/image-type";
import { modelNameSchema, modelVersionSchema } from "@legacygpu/shared/manifest";
import type { TaskInput } from "@legacygpu/shared/protocol/messages";
import { isFinal } from "@legacygpu/shared/task";
import { z } from "zod";
import type { Principal } from "../../auth/principal.ts";
import type { Catalogue, Model } from "../../models/catalogue.ts";
import type { TaskRecord } from "../../tasks/record.ts";
import { taskJson } from "../../tasks/task-json.ts";
import type { Submission, TaskService } from "../../tasks/task-service.ts";
import { parseOutputs, parseTensors } from "../../tasks/tensor-json.ts";
import { type Endpoint, json, param, parse, parseJson, parseQuery } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";

const MAX_WAIT_SECONDS = 60;

/** Query of a submission whose body is the picture itself. */
const imageQuerySchema = z.strictObject({
  model: modelNameSchema,
  version: modelVersionSchema.optional(),
  priority: prioritySchema.default("NORMAL"),
  deadline_ms: z.coerce.number().pipe(deadlineMsSchema).optional(),
});

const waitQuerySchema = z.strictObject({
  wait: z.coerce.number().min(0).max(MAX_WAIT_SECONDS).default(0),
});

export interface TaskParts {
  readonly tasks: TaskService;
  readonly catalogue: Catalogue;
  readonly maxBodyBytes: number;
}

export function taskEndpoints({ tasks, catalogue, maxBodyBytes }: TaskParts): Endpoint[] {
  const view = (task: TaskRecord): unknown => taskJson(task, tasks.pendingReason(task));

  async function create(request: Request, principal: Principal): Promise<Response> {
    const task = await tasks.submit(principal, readSubmission(request, catalogue));
    const location = { location: `/tasks/${task.id}` };
    const waitMs = preferredWaitMs(request);
    if (waitMs === 0) return json(202, view(task), location);
    await tasks.wait(task, waitMs);
    return json(isFinal(task.state) ? 200 : 202, view(task), location);
  }

  async function get(request: Request, principal: Principal): Promise<Response> {
    const { wait } = parseQuery(request, waitQuerySchema);
    const task = await tasks.get(principal, param(request, "id"));
    if (wait > 0) await tasks.wait(task, wait * 1000);
    return json(200, view(task));
  }

  async function list(request: Request, principal: Principal): Promise<Response> {
    const page = await tasks.list(principal, parseQuery(request, listTasksQuerySchema));
    return json(200, { tasks: page.tasks.map(view), next_cursor: page.nextCursor });
  }

  return [
    {
      method: "POST",
      pattern: "/tasks",
      scope: "submit",
      body: { kind: "buffer", limitBytes: maxBodyBytes },
      handle: create,
    },
    { method: "GET", pattern: "/tasks", scope: "read", handle: list },
    { method: "GET", pattern: "/tasks/:id", scope: "read", handle: get },
    {
      method: "POST",
      pattern: "/tasks/:id/cancel",
      scope: "submit",
      handle: async (request, principal) =>
        json(200, view(await tasks.cancel(principal, param(request, "id")))),
    },
  ];
}

function readSubmission(request: Request, catalogue: Catalogue): Submission {
  const contentType = mediaType(request);
  if (contentType.startsWith("image/")) return imageSubmission(request, catalogue);
  if (contentType === "application/json" || contentType === "") return jsonSubmission(request, catalogue);
  throw fail(
    "media_type_unsupported",
    `Content-Type \`${contentType}\` is not accepted; send application/json, or a picture as image/*.`,
    { accepted: ["application/json", "image/*"] },
  );
}

function imageSubmission(request: Request, catalogue: Catalogue): Submission {
  const { model: name, version, priority, deadline_ms } = parseQuery(request, imageQuerySchema);
  const model = catalogue.find(name, version);
  return { model, input: imageInput(request.body, model, "body"), priority, deadlineMs: deadline_ms };
}

function jsonSubmission(request: Request, catalogue: Catalogue): Submission {
  const given = parseJson(request, createTaskSchema);
  parse(Object.fromEntries(request.query), z.strictObject({}));
  const model = catalogue.find(given.model, given.version);
  const common = {
    model,
    priority: given.priority,
    deadlineMs: given.deadline_ms,
    metadata: given.metadata,
  };
  if ("image" in given.input) {
    return { ...common, input: imageInput(Buffer.from(given.input.image, "base64"), model, "input.image") };
  }
  const place = { model: model.ref.name, path: "input.inputs" };
  return {
    ...common,
    input: { kind: "tensors", tensors: parseTensors(given.input.inputs, model.inputs, place) },
    outputs: parseOutputs(given.input.outputs, model.outputs, place),
  };
}

function imageInput(image: Buffer, { ref, manifest }: Model, path: string): TaskInput {
  if (manifest.preprocess === undefined) {
    throw fail(
      "input_invalid",
      `${path}: model '${ref.name}' takes tensors; its manifest has no \`preprocess\` for pictures.`,
      {
        path,
        model: ref.name,
      },
    );
  }
  // A cheap refusal here spares a task that would fail there.
  if (imageType(image) === undefined) {
    throw fail(
      "image_invalid",
      `${path}: this is no picture that can be decoded (JPEG, PNG, WebP, GIF, TIFF, AVIF or SVG).`,
      {
        path,
      },
    );
  }
  return { kind: "image", image };
}

function mediaType(request: Request): string {
  return (request.headers.get("content-type") ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
}

/** `Prefer: wait=30` (RFC 7240), bounded; anything else is no preference. */
function preferredWaitMs(request: Request): number {
  const match = /(?:^|[,;\s])wait\s*=\s*"?(\d+)/i.exec(request.headers.get("prefer") ?? "");
  return Math.min(Number(match?.[1] ?? 0), MAX_WAIT_SECONDS) * 1000;
}
