/** How the tasks in hand stand at this moment: for those who ask, and change nothing. */

import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import type { TaskInput } from "@legacygpu/shared/protocol/messages";
import type { Choice } from "../dispatch/choice.ts";
import type { Registry } from "../registry/registry.ts";
import type { Worker } from "../registry/worker.ts";
import type { Requirements, TaskRecord } from "../tasks/record.ts";
import type { AttemptTable } from "./attempt-table.ts";
import type { Attempt } from "./entry.ts";
import { type Explanation, explain } from "./explanation.ts";
import type { Ledger } from "./ledger.ts";
import type { ReplicaGate } from "./replica-gate.ts";
import { type Unmet, unmetRequirement } from "./unmet.ts";
import type { WaitingRoom } from "./waiting-room.ts";

export interface TaskViewParts {
  readonly clock: Clock;
  readonly registry: Registry;
  readonly ledger: Ledger;
  readonly attempts: AttemptTable;
  readonly waiting: WaitingRoom;
  readonly gate: ReplicaGate;
  /** How the worker of a task was chosen, or would be chosen now. Default: nobody knows. */
  readonly choiceOf?: ((id: TaskId) => Choice | undefined) | undefined;
}

export class TaskView {
  readonly #parts: TaskViewParts;

  constructor(parts: TaskViewParts) {
    this.#parts = parts;
  }

  /** The task as it stands; undefined when its record is not in memory. */
  recordOf(id: TaskId): TaskRecord | undefined {
    return this.#parts.ledger.get(id)?.task;
  }

  /** Every task that a worker runs now. */
  running(): TaskRecord[] {
    const tasks: TaskRecord[] = [];
    for (const { entry, attempt } of this.#parts.attempts.all())
      if (entry.task?.state === "RUNNING" && attempt === entry.live[0]) tasks.push(entry.task);
    return tasks;
  }

  /** Ids of the tasks of a model that no worker has begun. */
  *pendingOf(model: string): Iterable<TaskId> {
    const { entries, groups } = this.#parts.ledger;
    for (const { id, task, group } of entries.values()) {
      if (task?.state !== "RUNNING" && groups.requirements(group).model.name === model) yield id;
    }
  }

  /** Ids of the tasks of a model, or of one of its versions, that have not ended. */
  *unfinishedOf(model: string, version?: string): Iterable<TaskId> {
    const { entries, groups } = this.#parts.ledger;
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
    const { attempts, ledger } = this.#parts;
    for (const { entry, attempt } of attempts.all())
      yield { model: ledger.groups.requirements(entry.group).model, workerId: attempt.worker.id };
  }

  /** How many tasks of a model, or of one of its versions, are queued, and which of them has waited longest. */
  queueOf(model: string, version?: string): { readonly count: number; readonly oldest: TaskId | undefined } {
    const { ledger, waiting } = this.#parts;
    const ofModel = ledger.groups.of(model, version);
    return { count: waiting.countOf(ofModel), oldest: waiting.oldestOf(ofModel)?.id };
  }

  /** Why the task is not running yet; undefined when it runs or has ended. */
  explain(id: TaskId): Explanation | undefined {
    const { clock, registry, ledger, waiting, gate } = this.#parts;
    const { groups } = ledger;
    const entry = ledger.get(id);
    if (entry === undefined || entry.task?.state === "RUNNING") return undefined;
    const requirements = groups.requirements(entry.group);
    return explain(entry, {
      workers: [...registry.all],
      requirements,
      needs: registry.needsOf(requirements.model),
      replicas: gate.replicasOf(requirements.model),
      deploymentReason: () => gate.reason(requirements.model),
      isHeldBack: groups.isPaused(entry.group),
      position: waiting.positionOf(entry),
      dueAtMs: waiting.dueAtMs(entry),
      throughputPerSecond: ledger.throughput.perSecond,
      nowMs: clock.now(),
    });
  }

  /** What no connected worker has of what a task needs; undefined when one could run it, busy or not. */
  unmetBy(requirements: Requirements): Unmet | undefined {
    const { clock, registry } = this.#parts;
    const needs = registry.needsOf(requirements.model);
    return unmetRequirement({ workers: [...registry.all], requirements, needs, nowMs: clock.now() });
  }

  /** How its worker was chosen, if that was to be remembered, or would be chosen now. */
  choiceOf(id: TaskId): Choice | undefined {
    return this.#parts.choiceOf?.(id);
  }

  /** Who holds the attempt; undefined when it is not live. */
  holderOf(taskId: string, token: number): Worker | undefined {
    return this.#find(taskId, token)?.worker;
  }

  /** Whether the attempt is live and held by a worker that connected with `keyId`. */
  isTheirs(taskId: string, token: number, keyId: string): boolean {
    const attempt = this.#find(taskId, token);
    return attempt !== undefined && attempt.worker.link?.keyId === keyId;
  }

  /** The input of a live attempt, for a worker that connected with `keyId`. @throws `attempt_not_found` */
  inputOf(taskId: string, token: number, keyId: string): TaskInput {
    const { ledger } = this.#parts;
    const entry = ledger.get(taskId as TaskId);
    const input =
      entry !== undefined && this.isTheirs(taskId, token, keyId) ? ledger.records.inputOf(entry) : undefined;
    if (input === undefined) throw fail("attempt_not_found");
    return input;
  }

  #find(taskId: string, token: number): Attempt | undefined {
    const live = this.#parts.ledger.get(taskId as TaskId)?.live;
    return live?.find(({ record }) => record.token === token);
  }
}
