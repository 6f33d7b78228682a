/** Tasks whose input and output follow from their id, so that anybody can tell whether a store has kept the right ones. */

import { createHash } from "node:crypto";
import { newTask, type TaskRecord, transition } from "@legacygpu/gateway/tasks/record";
import type { TaskId } from "@legacygpu/shared/ids";
import type { TaskInput, TaskOutput } from "@legacygpu/shared/protocol/messages";

const DIGEST = `sha256:${"0".repeat(64)}`;
/** Some inputs fit into a page of the store, others take several of their own. */
const INPUT_BYTES = [64, 300, 2000, 9000] as const;
const NO_TIME = { queuedMs: 0, fetchMs: 0, loadMs: 0, preprocessMs: 0, executeMs: 1, postprocessMs: 0 };

export function storedTask(id: TaskId, nowMs: number): TaskRecord {
  const input = inputFor(id);
  const order = {
    id,
    tenant: "bench",
    model: { name: "m", version: "1", file: DIGEST, fileBytes: 1, manifest: DIGEST },
    outputs: undefined,
    priority: "NORMAL",
    metadata: {},
    tags: [],
    createdAtMs: nowMs,
    inputBytes: input.kind === "image" ? input.image.length : 0,
    executionLimitMs: undefined,
    resultTtlMs: 86_400_000,
    maxAttempts: 3,
    backoffMs: 0,
    retryOn: undefined,
    placement: undefined,
    webhook: undefined,
    batch: undefined,
    durability: "flushed",
    mayBeCopied: true,
    wantsChoice: false,
    requestHash: undefined,
  } as const;
  return newTask(order, input, undefined);
}

export function inputFor(id: TaskId): TaskInput {
  const seed = createHash("sha512").update(id).digest();
  const sizeBytes = INPUT_BYTES[(seed[0] ?? 0) % INPUT_BYTES.length] ?? 64;
  return { kind: "image", image: new Uint8Array(Buffer.alloc(sizeBytes, seed)) };
}

export function outputFor(id: TaskId): TaskOutput {
  const data = new Uint8Array(createHash("sha256").update(id).digest());
  return { kind: "output", tensors: [{ name: "output", datatype: "FP32", shape: [1, 8], data }] };
}

/** A worker has begun it. */
export function beginTask(task: TaskRecord, nowMs: number): void {
  task.attempts.push({
    token: 1,
    workerId: "box",
    site: "bench",
    startedAtMs: nowMs,
    acceptedAtMs: nowMs,
    endedAtMs: undefined,
    outcome: undefined,
    error: undefined,
  });
  transition(task, "RUNNING", nowMs);
}

/** After {@link beginTask}. */
export function completeTask(task: TaskRecord, nowMs: number): void {
  const attempt = task.attempts.at(-1);
  if (attempt !== undefined) {
    attempt.endedAtMs = nowMs;
    attempt.outcome = "completed";
  }
  task.output = outputFor(task.id);
  task.outputBytes = 32;
  task.timings = { onWorker: NO_TIME, queueMs: 0, networkMs: 0 };
  transition(task, "COMPLETED", nowMs);
}
