/** Events of one task, and of all tasks of a key, as they happen (server-sent events). */

import type { TaskEventJson } from "@legacygpu/shared/api/task-events";
import { type Clock, sleep } from "@legacygpu/shared/clock";
import { isFinal } from "@legacygpu/shared/task";
import { isAdmin, type Principal } from "../../auth/principal.ts";
import type { TaskRecord } from "../../tasks/record.ts";
import { type TaskEvent, taskEvents } from "../../tasks/task-events.ts";
import { taskJson } from "../../tasks/task-json.ts";
import type { TaskService } from "../../tasks/task-service.ts";
import { type Endpoint, param } from "../endpoint.ts";
import { eventStream, type ServerSentEvent } from "../event-stream.ts";
import type { Request, Response } from "../exchange.ts";

/** How often a worker's progress with a task is looked at. */
const PROGRESS_MS = 500;
/** What one reader of all events may fall behind before it misses some. */
const MAX_WAITING_TASKS = 10_000;

export interface EventParts {
  readonly tasks: TaskService;
  readonly clock: Clock;
}

export function taskEventEndpoints({ tasks, clock }: EventParts): Endpoint[] {
  const snapshot = (task: TaskRecord): TaskEventJson["snapshot"] => taskJson(task, tasks.explain(task.id));

  function toSse(task: TaskRecord, event: TaskEvent): ServerSentEvent {
    const { seq, name, atMs, attempt, error, isEarlier } = event;
    const data: TaskEventJson = {
      seq,
      at: new Date(atMs).toISOString(),
      task: task.id,
      ...(attempt === undefined ? {} : { attempt: attemptJson(attempt) }),
      ...(error === undefined ? {} : { error }),
      ...(name === "completed" && isEarlier !== true ? { snapshot: snapshot(task) } : {}),
    };
    return { id: String(seq), event: name, data };
  }

  async function* eventsOf(first: TaskRecord, after: number): AsyncGenerator<ServerSentEvent> {
    let task = first;
    let told = after;
    if (told > taskEvents(task).length) {
      yield { event: "reset", data: resetData(task, snapshot(task), clock.now()) };
      told = taskEvents(task).length;
    }
    const changes = new Changes(tasks, task.id);
    let progress = "";
    try {
      for (;;) {
        for (const event of taskEvents(task).slice(told)) yield toSse(task, event);
        told = Math.max(told, taskEvents(task).length);
        if (isFinal(task.state)) return;
        const now = tasks.explain(task.id)?.progress;
        if (now !== undefined && JSON.stringify(now) !== progress) {
          progress = JSON.stringify(now);
          const at = new Date(clock.now()).toISOString();
          yield { event: "progress", data: { at, task: task.id, progress: now } satisfies TaskEventJson };
        }
        task = (await changes.next(clock)) ?? task;
      }
    } finally {
      changes.stop();
    }
  }

  async function one(request: Request, principal: Principal): Promise<Response> {
    const task = await tasks.get(principal, param(request, "id"));
    return eventStream(eventsOf(task, lastEventId(request)), { clock });
  }

  function all(request: Request, principal: Principal): Response {
    // A generator that waits for the next task would not notice that its reader is gone.
    const gone = new AbortController();
    request.onHangUp(() => gone.abort());
    return eventStream(allEvents(tasks, principal, toSse, gone.signal), { clock });
  }

  return [
    { method: "GET", pattern: "/tasks/:id/events", scope: "read", handle: one },
    { method: "GET", pattern: "/events", scope: "read", handle: all },
  ];
}

/** The latest stored state of a task, after a change or a while. */
class Changes {
  readonly #stop: () => void;
  #latest: TaskRecord | undefined;
  #wake: AbortController | undefined;

  constructor(tasks: TaskService, id: TaskRecord["id"]) {
    this.#stop = tasks.watch.watch(id, (task) => {
      this.#latest = task;
      this.#wake?.abort();
    });
    // It may have changed between being looked up and being watched.
    void tasks.find(id).then((task) => {
      this.#latest ??= task;
      this.#wake?.abort();
    });
  }

  async next(clock: Clock): Promise<TaskRecord | undefined> {
    if (this.#latest === undefined) {
      this.#wake = new AbortController();
      await sleep(clock, PROGRESS_MS, this.#wake.signal);
      this.#wake = undefined;
    }
    const latest = this.#latest;
    this.#latest = undefined;
    return latest;
  }

  stop(): void {
    this.#stop();
    this.#wake?.abort();
  }
}

/** From now on; ids are not for replay, since the tasks are many. */
async function* allEvents(
  tasks: TaskService,
  principal: Principal,
  toSse: (task: TaskRecord, event: TaskEvent) => ServerSentEvent,
  gone: AbortSignal,
): AsyncGenerator<ServerSentEvent> {
  const told = new Map<string, number>();
  const waiting = new Map<string, TaskRecord>();
  let wake = (): void => {};
  const stop = tasks.watch.watchAll((task) => {
    const isTheirs = task.tenant === principal.tenant || isAdmin(principal);
    if (!isTheirs || waiting.size >= MAX_WAITING_TASKS) return;
    waiting.set(task.id, task);
    wake();
  });
  gone.addEventListener("abort", () => wake());
  try {
    while (!gone.aborted) {
      for (const task of waiting.values()) {
        const events = taskEvents(task);
        for (const event of events.slice(told.get(task.id) ?? 0))
          yield { ...toSse(task, event), id: `${task.id}:${event.seq}` };
        if (isFinal(task.state)) told.delete(task.id);
        else told.set(task.id, events.length);
        waiting.delete(task.id);
      }
      if (waiting.size === 0 && !gone.aborted) await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    stop();
  }
}

function attemptJson({
  n,
  record,
}: NonNullable<TaskEvent["attempt"]>): NonNullable<TaskEventJson["attempt"]> {
  return { n, worker: record.workerId, site: record.site, token: record.token };
}

function resetData(task: TaskRecord, snapshot: TaskEventJson["snapshot"], nowMs: number): TaskEventJson {
  return { seq: taskEvents(task).length, at: new Date(nowMs).toISOString(), task: task.id, snapshot };
}

function lastEventId(request: Request): number {
  const given = Number(request.headers.get("last-event-id") ?? request.query.get("after") ?? 0);
  return Number.isSafeInteger(given) && given > 0 ? given : 0;
}
