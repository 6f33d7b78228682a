/** Wire form of the events of a task on HTTP. */

import { z } from "zod";
import { taskJsonSchema, wireErrorJsonSchema } from "./tasks.ts";

/**
 * Events of `GET /tasks/{id}/events`, in the order in which they can happen. `seq` rises by one with every event of a task, across restarts; an
 * event without `seq` (progress) is not kept. `attempt_failed` also stands for an attempt whose worker was lost.
 */
export const TASK_EVENTS = [
  "queued",
  "assigned",
  "started",
  "progress",
  "attempt_failed",
  "completed",
  "reset",
] as const;
export const taskEventSchema = z.object({
  seq: z.int().optional(),
  at: z.string(),
  task: z.string(),
  /** `assigned`, `started`, `attempt_failed` */
  attempt: z.object({ n: z.int(), worker: z.string(), site: z.string(), token: z.int() }).optional(),
  /** `attempt_failed` */
  error: wireErrorJsonSchema.optional(),
  progress: z.object({ phase: z.string(), percent: z.number().optional() }).optional(),
  /** `completed` has the whole task as it ended, whichever its state; `reset` the task as it stands, when the events asked for are not known. */
  snapshot: taskJsonSchema.optional(),
});
export type TaskEventJson = z.infer<typeof taskEventSchema>;
