/** Inputs and outputs as messages: what fits into a frame, and what must travel beside it. */

import { type LegacyGpuError, toWireError } from "@legacygpu/shared/errors";
import { encodeValue } from "@legacygpu/shared/protocol/codec";
import type {
  AgentMessage,
  AttemptTimings,
  GatewayMessage,
  MessageOf,
  TaskInput,
  TaskOutput,
} from "@legacygpu/shared/protocol/messages";
import { INLINE_PAYLOAD_BYTES } from "@legacygpu/shared/protocol/version";
import type { RunResult } from "../runner/job.ts";
import type { Attempt } from "./attempt.ts";
import type { Outcome } from "./outcome.ts";

const MAX_MESSAGE_CHARS = 4000;
const MAX_DETAILS_BYTES = 8 * 1024;
/** More than name, shape and datatype of a tensor, or one prediction, take as msgpack. */
const ITEM_OVERHEAD_BYTES = 512;

export function inputBytesOf(input: MessageOf<GatewayMessage, "task">["input"]): number {
  switch (input.kind) {
    case "tensors":
      return input.tensors.reduce((sum, tensor) => sum + tensor.data.length, 0);
    case "image":
      return input.image.length;
    case "beside":
      return input.sizeBytes;
  }
}

/** A copy whose bytes are its own: decoded fields are views that would keep their whole frame in memory. */
export function ownInput(input: TaskInput): TaskInput {
  if (input.kind === "image") return { kind: "image", image: input.image.slice() };
  return {
    kind: "tensors",
    tensors: input.tensors.map(({ name, datatype, shape, data }) => ({
      name,
      datatype,
      shape,
      data: data.slice(),
    })),
  };
}

/** Where the time went at this agent, from its arrival on. */
export function timingsOf({ fetchMs, modelMs }: Attempt, { timings }: RunResult): AttemptTimings {
  return {
    queuedMs: timings.queuedMs,
    fetchMs,
    loadMs: timings.loadMs + modelMs,
    preprocessMs: timings.preprocessMs,
    executeMs: timings.executeMs,
    postprocessMs: timings.postprocessMs,
    batchSize: timings.batchSize,
    concurrency: timings.concurrency,
  };
}

export function outcomeOf(attempt: Attempt, result: RunResult): Outcome {
  const { output, provider } = result;
  const body = besideBody(output);
  const message: MessageOf<AgentMessage, "result"> = {
    type: "result",
    taskId: attempt.taskId,
    token: attempt.token,
    output: body === undefined ? output : { kind: "beside", sizeBytes: body.length },
    timings: timingsOf(attempt, result),
    provider,
  };
  return body === undefined ? { kind: "inline", message } : { kind: "beside", message, body };
}

/** Encoding is the only exact measure, and most outputs are so small that an estimate decides. */
function besideBody(output: TaskOutput): Uint8Array | undefined {
  const data = output.tensors.reduce((sum, tensor) => sum + tensor.data.length, 0);
  const items = output.tensors.length + (output.predictions?.length ?? 0);
  if (data + items * ITEM_OVERHEAD_BYTES <= INLINE_PAYLOAD_BYTES) return undefined;
  const body = encodeValue(output);
  return body.length <= INLINE_PAYLOAD_BYTES ? undefined : body;
}

/** An error that fits into a frame, whatever an engine has written into it. */
export function failedMessage(
  { taskId, token }: { readonly taskId: string; readonly token: number },
  error: LegacyGpuError,
): MessageOf<AgentMessage, "failed"> {
  const { details, message, ...wire } = toWireError(error);
  const isSmall = details !== undefined && encodeValue(details).length <= MAX_DETAILS_BYTES;
  return {
    type: "failed",
    taskId,
    token,
    error: { ...wire, message: message.slice(0, MAX_MESSAGE_CHARS), ...(isSmall ? { details } : {}) },
  };
}
