/** Reads at the start what the gateway is going to work on, so that damage is found before it does harm. */

import { asLegacyGpuError, fail } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import { isFinal } from "@legacygpu/shared/task";
import type { TaskRecord } from "../tasks/record.ts";
import type { Environment } from "./environment.ts";
import { corrupt } from "./task-codec.ts";
import type { TaskTables } from "./task-tables.ts";

/** @returns the tasks that have not ended, oldest first. @throws `store_corrupt` */
export function verify(environment: Environment, tables: TaskTables): TaskRecord[] {
  try {
    // A file that lost its end may have lost finished tasks too; otherwise those are checked when somebody reads them.
    if (environment.wasShort) verifyFinished(tables);
    return tables.inputs.keys({ order: "rising" }).map((id) => verifyUnfinished(tables, id as TaskId));
  } catch (error) {
    throw refusal(environment.path, error);
  }
}

function verifyUnfinished(tables: TaskTables, id: TaskId): TaskRecord {
  const task = tables.unfinished(id);
  if (isFinal(task.state)) throw corrupt({ table: "tasks", key: id }, "it has ended and still has its input");
  return task;
}

function verifyFinished(tables: TaskTables): void {
  for (const id of tables.tasks.keys({ order: "rising" })) {
    const task = tables.record(id as TaskId);
    if (task !== undefined && isFinal(task.state)) tables.addOutput(task);
    else if (!tables.inputs.has(id)) throw corrupt({ table: "inputs", key: id }, "it is missing");
  }
}

function refusal(path: string, error: unknown): Error {
  const { message, details } = asLegacyGpuError(error);
  return fail(
    "store_corrupt",
    `${message} The gateway does not start on ${path}, so that nothing is lost silently. Restore a backup of this file, or move it away to start with an empty store: tasks that wait in it are lost then.`,
    { ...details, path },
    error,
  );
}
