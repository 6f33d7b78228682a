/**
 * Where accepted tasks live. Consumers see only this port.
 *
 * The contract: when `insert` or `update` has resolved, the record survives whatever the implementation promises to survive; `get` and
 * `list` see it at once. Until a task has ended the store answers with the record that it was given, so that what is shown is how it stands now.
 * Finished tasks are forgotten, oldest first, when they are too many or too old. `test/store` holds every implementation to this.
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
  /** @throws `store_full`, `store_failed`: then nothing was stored. */
  insert(task: TaskRecord): Promise<void>;
  /** Records the end of a task that was inserted; other states are not kept. @throws `store_full`, `store_failed` */
  update(task: TaskRecord): Promise<void>;
  get(id: TaskId): Promise<TaskRecord | undefined>;
  /** Newest first. */
  list(query: TaskQuery): Promise<TaskRecord[]>;
  /** Every task whose end is not recorded, oldest first: what a gateway goes on with after a restart. */
  unfinished(): TaskRecord[];
  close(): Promise<void>;
}
