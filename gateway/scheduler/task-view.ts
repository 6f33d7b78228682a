/** How the tasks in hand stand at this moment: for those who ask, and change nothing. */

import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import type { TaskInput } from "@legacygpu/shared/protocol/messages";
import type { Registry } from "../registry/registry.ts";
import type { TaskRecord } from "../tasks/record.ts";
import type { AttemptTable } from "./attempt-table.ts";
import type { Entry } from "./entry.ts";
import { type Explanation, explain } from "./explanation.ts";
import type { Groups } from "./groups.ts";
import type { Records } from "./records.ts";
import type { ReplicaGate } from "./replica-gate.ts";
import type { Throughput } from "./throughput.ts";
import type { WaitingRoom } from "./waiting-room.ts";

export interface TaskViewParts {
  readonly clock: Clock;
  readonly registry: Registry;
  readonly entries: ReadonlyMap<TaskId, Entry>;
  readonly attempts: AttemptTable;
  readonly waiting: WaitingRoom;
  readonly groups: Groups;
  readonly records: Records;
  readonly throughput: Throughput;
  readonly gate: ReplicaGate;
}

export class TaskView {
  readonly #parts: TaskViewParts;

  constructor(parts: TaskViewParts) {
    this.#parts = parts;
  }

  /** The task as it stands; undefined when its record is not in memory. */
  recordOf(id: TaskId): TaskRecord | undefined {
    return this.#parts.entries.get(id)?.task;
  }

  /** Every task that a worker runs now. */
  running(): TaskRecord[] {
    const tasks: TaskRecord[] = [];
    for (const { task } of this.#parts.attempts.entries()) if (task?.state === "RUNNING") tasks.push(task);
    return tasks;
  }

  /** Ids of the tasks of a model that no worker has begun. */
  *pendingOf(model: string): Iterable<TaskId> {
    const { entries, groups } = this.#parts;
    for (const { id, task, group } of entries.values()) {
      if (task?.state !== "RUNNING" && groups.requirements(group).model.name === model) yield id;
    }
  }

  /** Ids of the tasks of a model, or of one of its versions, that have not ended. */
  *unfinishedOf(model: string, version?: string): Iterable<TaskId> {
    const { entries, groups } = this.#parts;
    for (const { id, group } of entries.values()) {
      const wanted = groups.requirements(group).model;
      if (wanted.name === model && (version === undefined || wanted.version === version)) yield id;
    }
  }

  /** The model of every attempt that a worker holds, with the worker's id. */
  *held(): Iterable<{
    readonly model: Pick<TaskRecord["model"], "name" | "version">;
    readonly workerId: string;
  }> {
    const { attempts, groups } = this.#parts;
    for (const { group, attempt } of attempts.entries())
      if (attempt !== undefined)
        yield { model: groups.requirements(group).model, workerId: attempt.worker.id };
  }

  /** How many tasks of a model, or of one of its versions, are queued, and which of them has waited longest. */
  queueOf(model: string, version?: string): { readonly count: number; readonly oldest: TaskId | undefined } {
    const { groups, waiting } = this.#parts;
    const ofModel = groups.of(model, version);
    return { count: waiting.countOf(ofModel), oldest: waiting.oldestOf(ofModel)?.id };
  }

  /** Why the task is not running yet; undefined when it runs or has ended. */
  explain(id: TaskId): Explanation | undefined {
    const { clock, registry, entries, waiting, groups, throughput, gate } = this.#parts;
    const entry = entries.get(id);
    if (entry === undefined || entry.task?.state === "RUNNING") return undefined;
    const requirements = groups.requirements(entry.group);
    return explain(entry, {
      workers: [...registry.all],
      requirements,
      replicas: gate.replicasOf(requirements.model),
      deploymentReason: () => gate.reason(requirements.model),
      isHeldBack: groups.isPaused(entry.group),
      position: waiting.positionOf(entry),
      dueAtMs: waiting.dueAtMs(entry),
      throughputPerSecond: throughput.perSecond,
      nowMs: clock.now(),
    });
  }

  /** Whether the attempt is live and held by a worker that connected with `keyId`. */
  isTheirs(taskId: string, token: number, keyId: string): boolean {
    const attempt = this.#parts.entries.get(taskId as TaskId)?.attempt;
    return attempt?.record.token === token && attempt.worker.link?.keyId === keyId;
  }

  /** The input of a live attempt, for a worker that connected with `keyId`. @throws `attempt_not_found` */
  inputOf(taskId: string, token: number, keyId: string): TaskInput {
    const { entries, records } = this.#parts;
    const entry = entries.get(taskId as TaskId);
    const input =
      entry !== undefined && this.isTheirs(taskId, token, keyId) ? records.inputOf(entry) : undefined;
    if (input === undefined) throw fail("attempt_not_found");
    return input;
  }
}
