/** Whether a record is what a search asks for: the same for every store. */

import type { TaskRecord } from "../tasks/record.ts";
import type { TaskQuery } from "./task-store.ts";

export function matches(task: TaskRecord, query: Omit<TaskQuery, "limit" | "before">): boolean {
  const { tenant, state, model, site, tag, batchId, isDeadLetter } = query;
  if (tenant !== undefined && task.tenant !== tenant) return false;
  if (state !== undefined && task.state !== state) return false;
  if (model !== undefined && task.model.name !== model) return false;
  if (site !== undefined && !task.attempts.some((attempt) => attempt.site === site)) return false;
  if (tag !== undefined && !task.tags.includes(tag)) return false;
  if (batchId !== undefined && task.batch?.id !== batchId) return false;
  return isDeadLetter === undefined || task.isDeadLetter;
}
