/** What the parts of the contract share: how a store is opened for a test, and what they all do with it. */

import type { TaskId } from "@legacygpu/shared/ids";
import type { TaskStore } from "../../gateway/store/task-store.ts";
import type { TaskRecord } from "../../gateway/tasks/record.ts";
import type { ManualClock } from "../support/manual-clock.ts";
import { sampleTask } from "./sample-tasks.ts";

export interface Subject {
  readonly store: TaskStore;
  readonly clock: ManualClock;
  /** Closes the store and opens it again, when it outlives its process; else does nothing. */
  reopen(): Promise<void>;
  /** Makes the store forget now what it would forget soon. */
  sweep(): Promise<void>;
  close(): Promise<void>;
}

export interface Limits {
  readonly maxFinished: number;
  readonly maxFinishedAgeMs: number;
  readonly maxStoredBytes: number;
}

export type OpenSubject = (limits: Limits) => Promise<Subject>;
export type WithSubject = (
  what: string,
  body: (subject: Subject) => Promise<void>,
  limits?: Partial<Limits>,
) => void;

/** For searches when nobody works on anything. */
export const nothingLive = (): undefined => undefined;

export async function insertMany(
  store: TaskStore,
  count: number,
): Promise<[TaskRecord, TaskRecord, ...TaskRecord[]]> {
  const tasks = Array.from({ length: count }, () => sampleTask());
  for (const task of tasks) await store.insert([task]);
  return tasks as [TaskRecord, TaskRecord, ...TaskRecord[]];
}

export const idsOf = (tasks: readonly (TaskRecord | undefined)[]): (TaskId | undefined)[] =>
  tasks.map((task) => task?.id);
