/** Tasks that automatic retries have given up: listed, tried again, forgotten. */

import { listDeadLettersQuerySchema } from "@legacygpu/shared/api/tasks";
import { asLegacyGpuError } from "@legacygpu/shared/errors";
import { modelNameSchema } from "@legacygpu/shared/manifest";
import { z } from "zod";
import type { Principal } from "../../auth/principal.ts";
import { taskJson } from "../../tasks/task-json.ts";
import type { TaskService } from "../../tasks/task-service.ts";
import { type Endpoint, json, parse, parseJson, parseQuery } from "../endpoint.ts";
import type { Request, Response } from "../exchange.ts";

const whichSchema = z.strictObject({
  model: modelNameSchema.optional(),
  ids: z.array(z.string().max(64)).max(1000).optional(),
});
type Which = z.infer<typeof whichSchema>;

const PAGE = 256;
const BODY = { kind: "buffer", limitBytes: 128 * 1024 } as const;

export function deadLetterEndpoints(tasks: TaskService): Endpoint[] {
  async function list(request: Request, principal: Principal): Promise<Response> {
    const page = await tasks.list(principal, {
      ...parseQuery(request, listDeadLettersQuerySchema),
      isDeadLetter: true,
    });
    return json(200, {
      tasks: page.tasks.map((task) => taskJson(task, undefined)),
      next_cursor: page.nextCursor,
    });
  }

  /** Those that were named, or all (of a model) that are dead letters at this moment. */
  async function idsOf(principal: Principal, { model, ids }: Which): Promise<string[]> {
    if (ids !== undefined) return ids;
    const found: string[] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await tasks.list(principal, { model, isDeadLetter: true, limit: PAGE, cursor });
      found.push(...page.tasks.map(({ id }) => id));
      if (page.nextCursor === null) return found;
      cursor = page.nextCursor;
    }
  }

  const each =
    (act: (principal: Principal, id: string) => Promise<unknown>) =>
    async (request: Request, principal: Principal): Promise<Response> => {
      const given = request.body.length === 0 ? {} : parseJson(request, whichSchema);
      const which = parse(given, whichSchema);
      let count = 0;
      for (const id of await idsOf(principal, which)) {
        try {
          await act(principal, id);
          count += 1;
        } catch (error) {
          // Whoever asks for all of them means those that can be had.
          if (which.ids !== undefined || asLegacyGpuError(error).code !== "model_not_found") throw error;
        }
      }
      return json(200, { count });
    };

  return [
    { method: "GET", pattern: "/dead-letters", scope: "read", handle: list },
    {
      method: "POST",
      pattern: "/dead-letters/retry",
      scope: "submit",
      body: BODY,
      handle: each((principal, id) => tasks.retry(principal, id)),
    },
    {
      method: "POST",
      pattern: "/dead-letters/purge",
      scope: "submit",
      body: BODY,
      handle: each((principal, id) => tasks.removeData(principal, id)),
    },
  ];
}
