/** The result of a task, or the reason why there is none. */

import type { InferResponse } from "@legacygpu/shared/api/inference";
import type { TaskJson } from "@legacygpu/shared/api/tasks";
import { fail, fromWireError } from "@legacygpu/shared/errors";

/**
 * The result of a task that is COMPLETED.
 *
 * @throws the task's own error when it is not; `result_expired` when the result was removed; `unknown` when the task has not ended, or when
 * its result is too large to be part of it: ask for it with `client.result(id)`.
 */
export function resultOf(task: TaskJson): InferResponse {
  if (task.result !== null) return task.result;
  if (task.error !== null) throw fromWireError(task.error);
  if (task.data_removed) throw fail("result_expired", undefined, { task: task.id });
  throw fail("unknown", `Task ${task.id} is ${task.status} and has no result.`, { task: task.id });
}
