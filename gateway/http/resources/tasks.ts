/** Tasks: submitted with 202, kept, looked up, waited for, cancelled, retried, removed. */

import { explainQuerySchema, listTasksQuerySchema, taskIdSchema } from "@legacygpu/shared/api/tasks";
import { fail, fromWireError } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import { isFinal } from "@legacygpu/shared/task";
import { z } from "zod";
import type { Principal } from "../../auth/principal.ts";
import type { Choice } from "../../dispatch/choice.ts";
import type { Idempotency } from "../../tasks/idempotency.ts";
import { currentAttempts, type TaskRecord } from "../../tasks/record.ts";
import { taskEvents } from "../../tasks/task-events.ts";
import { inferResponse, taskJson } from "../../tasks/task-json.ts";
import type { TaskService } from "../../tasks/task-service.ts";
import { type Endpoint, json, param, parse, parseQuery } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";
import { hashOf, idempotently, REPLAYED } from "./idempotent.ts";
import type { SubmissionReader } from "./task-submission.ts";

const MAX_WAIT_SECONDS = 60;

const waitQuerySchema = explainQuerySchema.extend({
  wait: z.coerce.number().min(0).max(MAX_WAIT_SECONDS).default(0),
});
export interface TaskParts {
  readonly tasks: TaskService;
  readonly reader: SubmissionReader;
  readonly idempotency: Idempotency;
  readonly maxBodyBytes: number;
}

export function taskEndpoints({ tasks, reader, idempotency, maxBodyBytes }: TaskParts): Endpoint[] {
  const view = (task: TaskRecord): unknown => taskJson(task, tasks.explain(task.id));
  const answer = (status: number, task: TaskRecord, headers: Record<string, string> = {}): Response =>
    json(status, view(task), { etag: etagOf(task), ...headers });

  /** With how its worker was chosen. The tag does not cover that, so there is none. */
  const explained = (task: TaskRecord, { sites }: Principal): Response =>
    json(200, taskJson(task, tasks.explain(task.id), within(tasks.choiceOf(task.id), sites)));

  /** The task, or, when the caller wants to wait, the task as it ends within that time. */
  async function created(
    request: Request,
    task: TaskRecord,
    headers: Record<string, string>,
  ): Promise<Response> {
    const location = { location: `/tasks/${task.id}`, ...headers };
    const waitMs = preferredWaitMs(request);
    const latest = waitMs === 0 || isFinal(task.state) ? task : await tasks.wait(task, waitMs);
    return answer(isFinal(latest.state) && waitMs > 0 ? 200 : 202, latest, location);
  }

  async function create(request: Request, principal: Principal): Promise<Response> {
    const { made, isReplay } = await idempotently(idempotency, request, principal, {
      make: async (documents) => {
        const submission = await reader.read(request, principal);
        const [task] = await tasks.submit(principal, [submission], ([first]) => documents(first?.id ?? ""));
        return task as TaskRecord;
      },
      find: (id) => tasks.get(principal, id),
    });
    return created(request, made, isReplay ? REPLAYED : {});
  }

  async function put(request: Request, principal: Principal): Promise<Response> {
    const id = parse({ id: param(request, "id") }, z.object({ id: taskIdSchema })).id as TaskId;
    const submission = await reader.read(request, principal);
    const { task, isNew } = await tasks.submitOnce(principal, {
      ...submission,
      id,
      requestHash: hashOf(request),
    });
    return created(request, task, isNew ? {} : REPLAYED);
  }

  /** Waits for the end, or, for a caller who says what it knows already, for any change. */
  async function get(request: Request, principal: Principal): Promise<Response> {
    const { wait, explain } = parseQuery(request, waitQuerySchema);
    const known = knownTags(request);
    const isEnough = (now: TaskRecord): boolean =>
      isFinal(now.state) || (known.length > 0 && !known.includes(etagOf(now)));
    let task = await tasks.get(principal, param(request, "id"));
    if (wait > 0 && !isEnough(task)) task = await tasks.wait(task, wait * 1000, isEnough);
    const etag = etagOf(task);
    if (explain === true) return explained(task, principal);
    return known.includes(etag) ? { status: 304, headers: { etag } } : answer(200, task);
  }

  async function result(request: Request, principal: Principal): Promise<Response> {
    const task = await tasks.get(principal, param(request, "id"));
    if (!isFinal(task.state))
      throw fail("task_not_finished", `Task ${task.id} is ${task.state}.`, { state: task.state });
    if (task.error !== undefined) throw fromWireError(task.error);
    if (task.output === undefined) {
      const at = new Date(task.dataRemovedAtMs ?? 0).toISOString();
      throw fail("result_expired", `The result of task ${task.id} was removed at ${at}.`, { removedAt: at });
    }
    return json(200, inferResponse(task.model, task.output, task.id));
  }

  async function list(request: Request, principal: Principal): Promise<Response> {
    const { batch, ...filter } = parseQuery(request, listTasksQuerySchema);
    const page = await tasks.list(principal, { ...filter, batchId: batch });
    return json(200, { tasks: page.tasks.map(view), next_cursor: page.nextCursor });
  }

  const one =
    (act: (principal: Principal, id: string) => Promise<TaskRecord>) =>
    async (request: Request, principal: Principal): Promise<Response> =>
      answer(200, await act(principal, param(request, "id")));
  const body = { kind: "buffer", limitBytes: maxBodyBytes } as const;
  return [
    { method: "POST", pattern: "/tasks", scope: "submit", body, handle: create },
    { method: "PUT", pattern: "/tasks/:id", scope: "submit", body, handle: put },
    { method: "GET", pattern: "/tasks", scope: "read", handle: list },
    { method: "GET", pattern: "/tasks/:id", scope: "read", handle: get },
    { method: "GET", pattern: "/tasks/:id/result", scope: "read", handle: result },
    {
      method: "POST",
      pattern: "/tasks/:id/cancel",
      scope: "submit",
      handle: one((principal, id) => tasks.cancel(principal, id)),
    },
    {
      method: "POST",
      pattern: "/tasks/:id/retry",
      scope: "submit",
      handle: one((principal, id) => tasks.retry(principal, id)),
    },
    {
      method: "DELETE",
      pattern: "/tasks/:id",
      scope: "submit",
      handle: one((principal, id) => tasks.removeData(principal, id)),
    },
  ];
}

/** Of the candidates those that a credential may know of. @param sites undefined: all */
function within(choice: Choice | undefined, sites: ReadonlySet<string> | undefined): Choice | undefined {
  if (choice === undefined || sites === undefined) return choice;
  return { ...choice, candidates: choice.candidates.filter(({ site }) => sites.has(site)) };
}

/** Changes with everything that happens to a task, but not with its place in the queue. */
function etagOf(task: TaskRecord): string {
  // Copies have no events of their own.
  const ended = task.attempts.filter(({ endedAtMs }) => endedAtMs !== undefined).length;
  return `"${task.state}-${taskEvents(task).length}-${currentAttempts(task).length}-${ended}-${task.dataRemovedAtMs ?? 0}"`;
}

/** As `If-None-Match` is compared: a proxy that compresses may have weakened a tag. */
function knownTags(request: Request): string[] {
  const given = request.headers.get("if-none-match")?.split(",") ?? [];
  return given.map((tag) =>
    tag
      .trim()
      .replace(/^W\//, "")
      .replace(/-(?:gzip|br|df)"$/, '"'),
  );
}

/** `Prefer: wait=30` (RFC 7240), bounded; anything else is no preference. */
function preferredWaitMs(request: Request): number {
  const match = /(?:^|[,;\s])wait\s*=\s*"?(\d+)/i.exec(request.headers.get("prefer") ?? "");
  return Math.min(Number(match?.[1] ?? 0), MAX_WAIT_SECONDS) * 1000;
}
