/**
 * Where accepted tasks live. Consumers see only this port.
 *
 * The contract: when `insert` or `update` has resolved, the record survives whatever the implementation promises to survive; `get` and
 * `list` see it at once.
 */

import type { TaskId } from "@legacygpu/shared/ids";
import type { TaskState } from "@legacygpu/shared/task";
import type { TaskRecord } from "../tasks/record.ts";

export interface TaskQuery {
  /** Absent: of every owner. */
  readonly ownerKeyId?: string | undefined;
  readonly state?: TaskState | undefined;
  readonly model?: string | undefined;
  readonly limit: number;
  /** Only tasks older than this one. */
  readonly before?: string | undefined;
}

export interface TaskStore {
  insert(task: TaskRecord): Promise<void>;
  /** Records the present state of a task that was inserted. */
  update(task: TaskRecord): Promise<void>;
  get(id: TaskId): Promise<TaskRecord | undefined>;
  /** Newest first. */
  list(query: TaskQuery): Promise<TaskRecord[]>;
  close(): Promise<void>;
}
