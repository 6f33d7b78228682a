/** Tasks as a gateway makes them, for tests of stores. */

import { createHash } from "node:crypto";
import { fail, toWireError } from "@legacygpu/shared/errors";
import { SortableIds, type TaskId } from "@legacygpu/shared/ids";
import type { TaskInput, TaskOutput } from "@legacygpu/shared/protocol/messages";
import type { TaskState } from "@legacygpu/shared/task";
import { type NewTask, newTask, type TaskRecord, transition } from "../../gateway/tasks/record.ts";

const ORIGIN_MS = Date.UTC(2026, 0, 1);
const DIGEST = `sha256:${"0".repeat(64)}` as const;
const ids = new SortableIds();

export function sampleTask(given: Partial<NewTask> & { modelName?: string } = {}): TaskRecord {
  const { modelName = "digits", ...rest } = given;
  const id = ids.nextTaskId(ORIGIN_MS);
  return newTask({
    id,
    ownerKeyId: "alice",
    model: { name: modelName, version: "1.0.0", file: DIGEST, fileBytes: 10, manifest: DIGEST },
    input: inputFor(id),
    outputs: undefined,
    priority: "NORMAL",
    metadata: { from: "a test" },
    createdAtMs: ORIGIN_MS,
    deadlineAtMs: undefined,
    maxAttempts: 3,
    ...rest,
  });
}

/** An input that can be recomputed from the id, to tell whether the right one was kept. */
export function inputFor(id: TaskId): TaskInput {
  return { kind: "image", image: new Uint8Array(createHash("sha512").update(id).digest()) };
}

export function outputFor(id: TaskId): TaskOutput {
  const data = new Uint8Array(createHash("sha256").update(id).digest());
  return { kind: "output", tensors: [{ name: "scores", datatype: "FP32", shape: [1, 8], data }] };
}

export function startTask(task: TaskRecord): void {
  task.attempts.push({
    token: 7,
    workerId: "box",
    site: "lab",
    startedAtMs: ORIGIN_MS + 1,
    wasAccepted: true,
    endedAtMs: undefined,
    outcome: undefined,
    error: undefined,
  });
  transition(task, "RUNNING", ORIGIN_MS + 1);
}

export function endTask(task: TaskRecord, to: TaskState, atMs = ORIGIN_MS + 9): TaskRecord {
  if (task.state === "PENDING" && to === "COMPLETED") startTask(task);
  const attempt = task.attempts.at(-1);
  if (attempt !== undefined) {
    attempt.endedAtMs = atMs;
    attempt.outcome = to === "COMPLETED" ? "completed" : "failed";
  }
  if (to === "COMPLETED") {
    task.output = outputFor(task.id);
    const onWorker = {
      queuedMs: 1,
      fetchMs: 0,
      loadMs: 0,
      preprocessMs: 0.5,
      executeMs: 3,
      postprocessMs: 0.25,
    };
    task.timings = { onWorker, queueMs: 2, networkMs: 1 };
  } else {
    task.error = toWireError(fail("worker_lost", "The worker was lost.", { workerId: "box" }));
  }
  transition(task, to, atMs);
  return task;
}
