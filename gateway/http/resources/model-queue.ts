/** The queue of one model: how long it is, who serves it, and holding it back. */

import type { ModelQueueJson } from "@legacygpu/shared/api/tasks";
import type { Clock } from "@legacygpu/shared/clock";
import { timeOfId } from "@legacygpu/shared/ids";
import { requireModel } from "../../auth/principal.ts";
import type { Counters } from "../../metrics.ts";
import type { Catalogue } from "../../models/catalogue.ts";
import type { Registry } from "../../registry/registry.ts";
import type { Worker } from "../../registry/worker.ts";
import type { Scheduler } from "../../scheduler/scheduler.ts";
import type { QueueControl } from "../../tasks/queue-control.ts";
import { modelKey } from "../../tasks/record.ts";
import { type Endpoint, json, param } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";

export interface ModelQueueParts {
  readonly catalogue: Catalogue;
  readonly scheduler: Scheduler;
  readonly registry: Registry;
  readonly counters: Counters;
  readonly control: QueueControl;
  readonly clock: Clock;
}

export function modelQueueEndpoints(parts: ModelQueueParts): Endpoint[] {
  const { catalogue, scheduler, registry, counters, control, clock } = parts;

  function view(name: string): ModelQueueJson {
    const { ref } = catalogue.find(name);
    const running = scheduler.view.running().filter(({ model }) => model.name === name).length;
    const { count, oldest } = scheduler.view.queueOf(name);
    return {
      model: name,
      is_paused: control.isPaused(name),
      pending: count,
      running,
      oldest_age_ms: oldest === undefined ? null : Math.max(0, clock.now() - timeOfId(oldest)),
      workers: countWorkers(registry.all, ref, clock.now()),
      delay_ms: counters.latencyOfModelMs(name),
    };
  }

  const act =
    (change: (model: string) => Promise<unknown>) =>
    async (request: Request): Promise<Response> => {
      const { name } = catalogue.find(param(request, "model")).ref;
      await change(name);
      return json(200, view(name));
    };

  return [
    {
      method: "GET",
      pattern: "/models/:model/queue",
      scope: "read",
      handle: (request, principal) => {
        const name = param(request, "model");
        requireModel(principal, name);
        return json(200, view(name));
      },
    },
    {
      method: "POST",
      pattern: "/models/:model/queue/pause",
      scope: "admin",
      action: "queue.pause",
      handle: act((model) => control.pause(model)),
    },
    {
      method: "POST",
      pattern: "/models/:model/queue/resume",
      scope: "admin",
      action: "queue.resume",
      handle: act((model) => control.resume(model)),
    },
    {
      method: "POST",
      pattern: "/models/:model/queue/purge",
      scope: "admin",
      action: "queue.purge",
      handle: act((model) => control.purge(model, "The queue of the model was emptied by an operator.")),
    },
  ];
}

function countWorkers(
  workers: Iterable<Worker>,
  model: { readonly name: string; readonly version: string },
  nowMs: number,
): ModelQueueJson["workers"] {
  const counts = { ready: 0, busy: 0, loading: 0, unable: 0 };
  for (const worker of workers) {
    const isLoading = /^(loading|downloading)$/.test(worker.models.get(modelKey(model))?.state ?? "");
    if (worker.link === undefined || worker.state === "DRAINING" || !worker.canRun(model, nowMs))
      counts.unable += 1;
    else if (isLoading) counts.loading += 1;
    else if (worker.state === "HEALTHY" && worker.inFlight < worker.slots) counts.ready += 1;
    else counts.busy += 1;
  }
  return counts;
}
