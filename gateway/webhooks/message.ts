/** The body of a webhook, made when it is sent. */

import type { TaskJson } from "@legacygpu/shared/api/tasks";
import type { TaskState } from "@legacygpu/shared/task";
import { stringifyExactly } from "../tasks/exact-json.ts";
import type { Delivery } from "./delivery.ts";

/** A task as its owner sees it now; undefined when it is no longer known. */
export type TaskView = (taskId: string) => Promise<TaskJson | undefined>;

/** A larger result is fetched by whoever wants it. */
const MAX_RESULT_BYTES = 20_000;

export async function messageBody(delivery: Delivery, taskView: TaskView): Promise<string> {
  const { event, task, endpointId, createdAtMs } = delivery;
  const data = task === undefined ? { webhook: endpointId } : await taskData(task, taskView);
  return stringifyExactly({ type: event, timestamp: new Date(createdAtMs).toISOString(), data });
}

async function taskData(task: { id: string; state: TaskState }, taskView: TaskView): Promise<unknown> {
  const view = await taskView(task.id);
  if (view === undefined) return { id: task.id, object: "task", status: task.state };
  const isLarge = view.result !== null && Buffer.byteLength(stringifyExactly(view.result)) > MAX_RESULT_BYTES;
  return isLarge ? { ...view, result: null } : view;
}
