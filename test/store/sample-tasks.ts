/** Tasks as a gateway makes them, for tests of stores. */

import { createHash } from "node:crypto";
import { fail, toWireError } from "@legacygpu/shared/errors";
import { SortableIds, type TaskId } from "@legacygpu/shared/ids";
import type { TaskInput, TaskOutput } from "@legacygpu/shared/protocol/messages";
import { isFinal, type TaskState } from "@legacygpu/shared/task";
import { newTask, type TaskOrder, type TaskRecord, transition } from "../../gateway/tasks/record.ts";

export const ORIGIN_MS = Date.UTC(2026, 0, 1);
export const RESULT_TTL_MS = 3_600_000;
const DIGEST = `sha256:${"0".repeat(64)}` as const;
const ids = new SortableIds();

export interface SampleTask extends Partial<TaskOrder> {
  readonly modelName?: string;
  readonly input?: TaskInput;
  readonly deadlineAtMs?: number | undefined;
}

export function sampleTask(given: SampleTask = {}): TaskRecord {
  const { modelName = "digits", input, deadlineAtMs, ...rest } = given;
  const id = rest.id ?? ids.nextTaskId(ORIGIN_MS);
  const order: TaskOrder = {
    id,
    tenant: "alice",
    model: { name: modelName, version: "1.0.0", file: DIGEST, fileBytes: 10, manifest: DIGEST },
    outputs: undefined,
    priority: "NORMAL",
    metadata: { from: "a test" },
    tags: [],
    createdAtMs: ORIGIN_MS,
    inputBytes: 64,
    executionLimitMs: undefined,
    resultTtlMs: RESULT_TTL_MS,
    maxAttempts: 3,
    backoffMs: 500,
    retryOn: undefined,
    placement: undefined,
    webhook: undefined,
    batch: undefined,
    durability: "flushed",
    mayBeCopied: true,
    wantsChoice: false,
    requestHash: undefined,
    ...rest,
  };
  return newTask(order, input ?? inputFor(id), deadlineAtMs);
}

/** An order in which nothing is left out. */
export function fullOrder(): Partial<TaskOrder> {
  return {
    outputs: ["scores", "größe"],
    priority: "CRITICAL",
    metadata: { schlüssel: "wert 🐟", empty: "" },
    tags: ["night", "süd"],
    inputBytes: 2 ** 40,
    executionLimitMs: 1234.5,
    maxAttempts: 20,
    backoffMs: 0,
    retryOn: ["worker_lost", "out_of_memory"],
    placement: {
      sites: ["lab"],
      labels: { tier: "a" },
      providers: ["cuda"],
      minVramBytes: 8e9,
      families: ["Ada"],
      residency: ["eu"],
    },
    mayBeCopied: false,
    wantsChoice: true,
    webhook: { endpointId: "wh_1", events: ["started", "completed"] },
    batch: { id: "batch_1", index: 70_000, reference: "row 9" },
    requestHash: "0af3",
  };
}

/** An input that can be recomputed from the id, to tell whether the right one was kept. */
export function inputFor(id: TaskId): TaskInput {
  return { kind: "image", image: new Uint8Array(createHash("sha512").update(id).digest()) };
}

export function outputFor(id: TaskId): TaskOutput {
  const data = new Uint8Array(createHash("sha256").update(id).digest());
  return { kind: "output", tensors: [{ name: "scores", datatype: "FP32", shape: [1, 8], data }] };
}

/** A worker has begun to run it. */
export function startTask(task: TaskRecord, { token = 7, site = "lab" } = {}): void {
  task.attempts.push({
    token,
    workerId: "box",
    site,
    startedAtMs: ORIGIN_MS + 1,
    acceptedAtMs: ORIGIN_MS + 2,
    endedAtMs: undefined,
    outcome: undefined,
    error: undefined,
  });
  transition(task, "RUNNING", ORIGIN_MS + 2);
}

/** Its attempt failed; it waits for the next one. */
export function failAttempt(task: TaskRecord, atMs = ORIGIN_MS + 5): void {
  endAttempt(task, "PENDING", atMs);
  transition(task, "PENDING", atMs);
}

export function endTask(task: TaskRecord, to: TaskState, atMs = ORIGIN_MS + 9): TaskRecord {
  if (task.state === "PENDING" && to === "COMPLETED") startTask(task);
  endAttempt(task, to, atMs);
  if (to === "COMPLETED") {
    task.output = outputFor(task.id);
    task.outputBytes = 32;
    const onWorker = {
      queuedMs: 1,
      fetchMs: 0,
      loadMs: 0,
      preprocessMs: 0.5,
      executeMs: 3,
      postprocessMs: 0.25,
    };
    task.timings = { onWorker, queueMs: 2, networkMs: 1 };
  } else task.error = workerLost();
  transition(task, to, atMs);
  task.isDeadLetter = to === "FAILED";
  return task;
}

function endAttempt(task: TaskRecord, to: TaskState, atMs: number): void {
  const attempt = task.attempts.at(-1);
  if (attempt === undefined || attempt.endedAtMs !== undefined) return;
  attempt.endedAtMs = atMs;
  attempt.outcome = to === "COMPLETED" ? "completed" : "failed";
  if (!isFinal(to)) attempt.error = workerLost();
}

const workerLost = () => toWireError(fail("worker_lost", "The worker was lost.", { workerId: "box" }));

/** As a store gives it back. */
export function withoutData(task: TaskRecord): TaskRecord {
  return { ...task, input: undefined, output: undefined };
}
