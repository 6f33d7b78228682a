/** A task as it is sent to a worker. */

import type { GatewayMessage, MessageOf, TaskInput } from "@legacygpu/shared/protocol/messages";
import { INLINE_PAYLOAD_BYTES } from "@legacygpu/shared/protocol/version";
import type { TaskRecord } from "../tasks/record.ts";

/** What a tensor's name, type and shape take in a frame, at most. */
const TENSOR_OVERHEAD_BYTES = 512;

export function taskMessage(
  task: TaskRecord,
  token: number,
  nowMs: number,
): MessageOf<GatewayMessage, "task"> {
  const { id, model, input, outputs, deadlineAtMs } = task;
  if (input === undefined) throw new TypeError(`Task ${id} has no input any more.`);
  const sizeBytes = inputBytes(input);
  return {
    type: "task",
    taskId: id,
    token,
    model: { name: model.name, version: model.version },
    budgetMs: deadlineAtMs === undefined ? undefined : Math.max(0, deadlineAtMs - nowMs),
    input: sizeBytes > INLINE_PAYLOAD_BYTES ? { kind: "beside", sizeBytes } : input,
    outputs: outputs === undefined ? undefined : [...outputs],
  };
}

export function inputBytes(input: TaskInput): number {
  if (input.kind === "image") return input.image.length;
  return input.tensors.reduce((sum, tensor) => sum + tensor.data.length + TENSOR_OVERHEAD_BYTES, 0);
}
