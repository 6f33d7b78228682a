/** A task as it is sent to a worker. */

import type { GatewayMessage, MessageOf } from "@legacygpu/shared/protocol/messages";
import { INLINE_PAYLOAD_BYTES } from "@legacygpu/shared/protocol/version";
import type { TaskRecord } from "../tasks/record.ts";

export function taskMessage(
  task: TaskRecord,
  token: number,
  nowMs: number,
): MessageOf<GatewayMessage, "task"> {
  const { id, model, input, outputs, deadlineAtMs, executionLimitMs } = task;
  if (input === undefined) throw new TypeError(`Task ${id} has no input any more.`);
  return {
    type: "task",
    taskId: id,
    token,
    model: { name: model.name, version: model.version },
    budgetMs: deadlineAtMs === undefined ? undefined : Math.max(0, deadlineAtMs - nowMs),
    executionLimitMs,
    input: task.inputBytes > INLINE_PAYLOAD_BYTES ? { kind: "beside", sizeBytes: task.inputBytes } : input,
    outputs: outputs === undefined ? undefined : [...outputs],
  };
}
