/** Batches: many inputs in one call, how far they are, and their results as JSON Lines. */

import {
  addBatchItemsSchema,
  type BatchJson,
  type BatchResult,
  createBatchSchema,
} from "@legacygpu/shared/api/batches";
import type { TaskOptions } from "@legacygpu/shared/api/tasks";
import { fail } from "@legacygpu/shared/errors";
import type { Principal } from "../../auth/principal.ts";
import type { Batch, Batches, Counts, NewItem } from "../../tasks/batches.ts";
import type { Idempotency } from "../../tasks/idempotency.ts";
import { inferResponse } from "../../tasks/task-json.ts";
import type { TaskService } from "../../tasks/task-service.ts";
import { type Endpoint, json, param, parseJson } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";
import { jsonLines } from "../json-lines.ts";
import { idempotently, REPLAYED } from "./idempotent.ts";
import type { SubmissionReader } from "./task-submission.ts";

export interface BatchParts {
  readonly batches: Batches;
  readonly tasks: TaskService;
  readonly reader: SubmissionReader;
  readonly idempotency: Idempotency;
  readonly maxBodyBytes: number;
}

type Items = ReturnType<typeof addBatchItemsSchema.parse>["items"];

export function batchEndpoints({
  batches,
  tasks,
  reader,
  idempotency,
  maxBodyBytes,
}: BatchParts): Endpoint[] {
  const answer = async (status: number, batch: Batch, headers?: Record<string, string>): Promise<Response> =>
    json(status, batchJson(batch, await batches.counts(batch)), headers);

  async function create(request: Request, principal: Principal): Promise<Response> {
    const { made, isReplay } = await idempotently(idempotency, request, principal, {
      make: async (documents) => {
        const { items, ...options } = parseJson(request, createBatchSchema);
        reader.checkPlacement(options, principal);
        return batches.create(principal, options, await readItems(items, options, principal), documents);
      },
      find: (id) => batches.get(principal, id),
    });
    return answer(202, made, { location: `/batches/${made.id}`, ...(isReplay ? REPLAYED : {}) });
  }

  async function add(request: Request, principal: Principal): Promise<Response> {
    const { made, isReplay } = await idempotently(idempotency, request, principal, {
      make: async (documents) => {
        const batch = batches.get(principal, param(request, "id"));
        const { items } = parseJson(request, addBatchItemsSchema);
        const options = { ...(batch.options as TaskOptions), version: batch.version };
        const read = await readItems(items, options, principal, batches.references(batch));
        return batches.add(principal, batch, read, documents(batch.id));
      },
      find: (id) => batches.get(principal, id),
    });
    return answer(202, made, isReplay ? REPLAYED : {});
  }

  async function readItems(
    items: Items,
    options: TaskOptions,
    principal: Principal,
    references = new Set<string>(),
  ): Promise<NewItem[]> {
    const common = await reader.common(options, principal);
    const read: NewItem[] = [];
    for (const [index, item] of items.entries()) {
      const { external_reference: reference } = item;
      if (reference !== undefined && references.has(reference)) {
        const path = `items[${index}].external_reference`;
        throw fail("request_invalid", `${path}: "${reference}" is given twice in this batch`, { path });
      }
      if (reference !== undefined) references.add(reference);
      read.push({ submission: await reader.item(common, item, index, principal), reference });
    }
    return read;
  }

  async function* results(batch: Batch): AsyncGenerator<BatchResult> {
    for (const { index, taskId, reference } of batches.items(batch)) {
      const task = await tasks.find(taskId);
      if (task === undefined) continue;
      yield {
        index,
        ...(reference === undefined ? {} : { external_reference: reference }),
        task: taskId,
        status: task.state,
        result: task.output === undefined ? null : inferResponse(task.model, task.output),
        error: task.error ?? null,
      };
    }
  }

  async function cancel(request: Request, principal: Principal): Promise<Response> {
    const batch = batches.get(principal, param(request, "id"));
    await batches.cancel(principal, batch);
    return answer(200, batch);
  }

  const body = { kind: "buffer", limitBytes: maxBodyBytes } as const;
  const get = (request: Request, principal: Principal): Batch => batches.get(principal, param(request, "id"));
  return [
    { method: "POST", pattern: "/batches", scope: "submit", body, handle: create },
    { method: "POST", pattern: "/batches/:id/items", scope: "submit", body, handle: add },
    {
      method: "GET",
      pattern: "/batches/:id",
      scope: "read",
      handle: (request, principal) => answer(200, get(request, principal)),
    },
    {
      method: "GET",
      pattern: "/batches/:id/results",
      scope: "read",
      handle: (request, principal) => jsonLines(results(get(request, principal))),
    },
    { method: "POST", pattern: "/batches/:id/cancel", scope: "submit", handle: cancel },
  ];
}

function batchJson({ id, model, version, createdAtMs, total }: Batch, counts: Counts): BatchJson {
  return {
    id,
    object: "batch",
    model,
    version,
    created_at: new Date(createdAtMs).toISOString(),
    status: counts.PENDING + counts.RUNNING === 0 ? "COMPLETED" : "RUNNING",
    counts: {
      total,
      pending: counts.PENDING,
      running: counts.RUNNING,
      completed: counts.COMPLETED,
      failed: counts.FAILED,
      cancelled: counts.CANCELLED,
      timed_out: counts.TIMED_OUT,
    },
    urls: {
      self: `/batches/${id}`,
      items: `/batches/${id}/items`,
      results: `/batches/${id}/results`,
      cancel: `/batches/${id}/cancel`,
    },
  };
}
