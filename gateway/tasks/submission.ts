/** What a caller asks for, before it is a task. */

import type { TaskId } from "@legacygpu/shared/ids";
import type { TaskInput } from "@legacygpu/shared/protocol/messages";
import type { Durability, Priority, RetryCause } from "@legacygpu/shared/task";
import type { Model } from "../models/catalogue.ts";
import type { BatchPlace, Placement, TaskOrder, TaskWebhook } from "./record.ts";

/** What a tensor's name, type and shape take in a frame, at most. */
const TENSOR_OVERHEAD_BYTES = 512;
const MAX_ATTEMPTS = 3;
const BACKOFF_MS = 500;
const RESULT_TTL_MS = 24 * 3_600_000;

export interface Submission {
  readonly model: Model;
  readonly input: TaskInput;
  readonly outputs?: readonly string[] | undefined;
  readonly priority: Priority;
  /** From now; absent: none. */
  readonly deadlineMs?: number | undefined;
  readonly executionLimitMs?: number | undefined;
  readonly resultTtlMs?: number | undefined;
  readonly maxAttempts?: number | undefined;
  readonly backoffMs?: number | undefined;
  readonly retryOn?: readonly RetryCause[] | undefined;
  readonly placement?: Placement | undefined;
  readonly webhook?: TaskWebhook | undefined;
  readonly batch?: BatchPlace | undefined;
  readonly durability?: Durability | undefined;
  /** Default: yes. */
  readonly mayBeCopied?: boolean | undefined;
  readonly wantsChoice?: boolean | undefined;
  /** Refused unless a connected worker could run it. */
  readonly noWait?: boolean | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly tags?: readonly string[] | undefined;
  /** Of the client's own choice. */
  readonly id?: TaskId | undefined;
  readonly requestHash?: string | undefined;
}

const NOTHING: Readonly<Record<string, string>> = {};
const NO_TAGS: readonly string[] = [];

export function orderOf(
  asked: Submission,
  { id, tenant, nowMs }: { readonly id: TaskId; readonly tenant: string; readonly nowMs: number },
): TaskOrder {
  return {
    id,
    tenant,
    model: asked.model.ref,
    outputs: asked.outputs,
    priority: asked.priority,
    metadata: asked.metadata ?? NOTHING,
    tags: asked.tags ?? NO_TAGS,
    createdAtMs: nowMs,
    inputBytes: inputBytes(asked.input),
    executionLimitMs: asked.executionLimitMs,
    resultTtlMs: asked.resultTtlMs ?? RESULT_TTL_MS,
    maxAttempts: asked.maxAttempts ?? MAX_ATTEMPTS,
    backoffMs: asked.backoffMs ?? BACKOFF_MS,
    retryOn: asked.retryOn,
    placement: asked.placement,
    webhook: asked.webhook,
    batch: asked.batch,
    durability: asked.durability ?? "flushed",
    mayBeCopied: asked.mayBeCopied ?? true,
    wantsChoice: asked.wantsChoice ?? false,
    requestHash: asked.requestHash,
  };
}

function inputBytes(input: TaskInput): number {
  if (input.kind === "image") return input.image.length;
  let bytes = 0;
  for (const tensor of input.tensors) bytes += tensor.data.length + TENSOR_OVERHEAD_BYTES;
  return bytes;
}
