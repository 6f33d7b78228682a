/** One task with its attempts and its result; `transition` is the only way to change its state. */

import { fail, type WireError } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import type { AttemptTimings, ModelRef, TaskInput, TaskOutput } from "@legacygpu/shared/protocol/messages";
import {
  type AttemptOutcome,
  type CopyPurpose,
  canMove,
  type Durability,
  isFinal,
  type Priority,
  type RetryCause,
  type TaskState,
} from "@legacygpu/shared/task";

export interface AttemptRecord {
  readonly token: number;
  readonly workerId: string;
  readonly site: string;
  /** When it was sent. */
  readonly startedAtMs: number;
  /** When the worker said that it had begun: attempts lost before that do not count towards `maxAttempts`. */
  acceptedAtMs: number | undefined;
  endedAtMs: number | undefined;
  outcome: AttemptOutcome | undefined;
  error: WireError | undefined;
  /** Of a copy: why it was made beside another attempt. Absent: it is none. */
  readonly purpose?: CopyPurpose | undefined;
}

export interface TaskTimings {
  readonly onWorker: AttemptTimings;
  readonly queueMs: number;
  /** From sending the attempt to its result, minus the worker's own time. */
  readonly networkMs: number;
}

/** Which workers may run it; every field narrows. */
export interface Placement {
  readonly sites?: readonly string[] | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly providers?: readonly string[] | undefined;
  readonly minVramBytes?: number | undefined;
  /** Of graphics cards. */
  readonly families?: readonly string[] | undefined;
  /** The worker's label `region` is one of these. */
  readonly residency?: readonly string[] | undefined;
}

export const WEBHOOK_EVENTS = ["started", "completed"] as const;
export type WebhookEvent = (typeof WEBHOOK_EVENTS)[number];

/** Where its owner wants to hear of it: an endpoint that was registered. */
export interface TaskWebhook {
  readonly endpointId: string;
  /** `completed` is every final state. */
  readonly events: readonly WebhookEvent[];
}

export interface BatchPlace {
  readonly id: string;
  readonly index: number;
  readonly reference: string | undefined;
}

/** A life that ended before its owner asked for another try. */
export interface EarlierRound {
  readonly state: TaskState;
  readonly error: WireError | undefined;
  readonly endedAtMs: number;
  readonly retriedAtMs: number;
  /** How many attempts had been made until then. */
  readonly attempts: number;
}

/** What was asked for; never changes. */
export interface TaskOrder {
  readonly id: TaskId;
  /** The key that submitted it; others do not see it. */
  readonly tenant: string;
  readonly model: ModelRef;
  readonly outputs: readonly string[] | undefined;
  readonly priority: Priority;
  readonly metadata: Readonly<Record<string, string>>;
  readonly tags: readonly string[];
  readonly createdAtMs: number;
  /** Of the input. */
  readonly inputBytes: number;
  readonly executionLimitMs: number | undefined;
  readonly resultTtlMs: number;
  readonly maxAttempts: number;
  readonly backoffMs: number;
  /** Absent: every cause that can be retried. */
  readonly retryOn: readonly RetryCause[] | undefined;
  readonly placement: Placement | undefined;
  readonly webhook: TaskWebhook | undefined;
  readonly batch: BatchPlace | undefined;
  readonly durability: Durability;
  /** Whether a second copy of it may run beside the first. */
  readonly mayBeCopied: boolean;
  /** How its worker was chosen is to be remembered. */
  readonly wantsChoice: boolean;
  /** Tells a repeated request with the same id from another one. */
  readonly requestHash: string | undefined;
}

export interface TaskRecord extends TaskOrder {
  /** Kept while it may still be run: until it is COMPLETED or CANCELLED, or its data is removed. In memory only while somebody needs it. */
  input: TaskInput | undefined;
  deadlineAtMs: number | undefined;
  state: TaskState;
  readonly attempts: AttemptRecord[];
  readonly earlierRounds: EarlierRound[];
  startedAtMs: number | undefined;
  completedAtMs: number | undefined;
  error: WireError | undefined;
  /** In memory only while somebody needs it. */
  output: TaskOutput | undefined;
  outputBytes: number | undefined;
  resultExpiresAtMs: number | undefined;
  timings: TaskTimings | undefined;
  /** Automatic retries have given it up; it waits for a person. */
  isDeadLetter: boolean;
  /** When input and output were removed: by its owner, or because the result expired. */
  dataRemovedAtMs: number | undefined;
}

/** Written out field by field: an object made by spreading is several times slower, to make and to use. */
export function newTask(order: TaskOrder, input: TaskInput, deadlineAtMs: number | undefined): TaskRecord {
  return {
    id: order.id,
    tenant: order.tenant,
    model: order.model,
    outputs: order.outputs,
    priority: order.priority,
    metadata: order.metadata,
    tags: order.tags,
    createdAtMs: order.createdAtMs,
    inputBytes: order.inputBytes,
    executionLimitMs: order.executionLimitMs,
    resultTtlMs: order.resultTtlMs,
    maxAttempts: order.maxAttempts,
    backoffMs: order.backoffMs,
    retryOn: order.retryOn,
    placement: order.placement,
    webhook: order.webhook,
    batch: order.batch,
    durability: order.durability,
    mayBeCopied: order.mayBeCopied,
    wantsChoice: order.wantsChoice,
    requestHash: order.requestHash,
    input,
    deadlineAtMs,
    state: "PENDING",
    attempts: [],
    earlierRounds: [],
    startedAtMs: undefined,
    completedAtMs: undefined,
    error: undefined,
    output: undefined,
    outputBytes: undefined,
    resultExpiresAtMs: undefined,
    timings: undefined,
    isDeadLetter: false,
    dataRemovedAtMs: undefined,
  };
}

/** @throws `internal` when the table of moves does not have this one: a fault in the program. */
export function transition(task: TaskRecord, to: TaskState, nowMs: number): void {
  if (!canMove(task.state, to))
    throw fail("internal", `Task ${task.id} cannot go from ${task.state} to ${to}.`);
  task.state = to;
  if (to === "RUNNING") task.startedAtMs ??= nowMs;
  if (!isFinal(to)) return;
  task.completedAtMs = nowMs;
  task.resultExpiresAtMs = nowMs + task.resultTtlMs;
  if (to === "COMPLETED" || to === "CANCELLED") task.input = undefined;
}

/** Another life for a task that failed or timed out, with all of its attempts and as much time as it had. */
export function beginAnew(task: TaskRecord, nowMs: number): void {
  const { state, error, completedAtMs = nowMs, deadlineAtMs, attempts } = task;
  const began = task.earlierRounds.at(-1)?.retriedAtMs ?? task.createdAtMs;
  transition(task, "PENDING", nowMs);
  task.earlierRounds.push({
    state,
    error,
    endedAtMs: completedAtMs,
    retriedAtMs: nowMs,
    attempts: attempts.length,
  });
  if (deadlineAtMs !== undefined) task.deadlineAtMs = nowMs + (deadlineAtMs - began);
  task.startedAtMs = undefined;
  task.completedAtMs = undefined;
  task.resultExpiresAtMs = undefined;
  task.error = undefined;
  task.isDeadLetter = false;
}

/** The attempts since it was submitted, or since its owner asked for another try. */
export function currentAttempts(task: TaskRecord): readonly AttemptRecord[] {
  const earlier = task.earlierRounds.at(-1)?.attempts ?? 0;
  return earlier === 0 ? task.attempts : task.attempts.slice(earlier);
}

/** Those of them that were made because the task had to be tried, not as copies beside another one. */
export function ordinaryAttempts(task: TaskRecord): readonly AttemptRecord[] {
  return currentAttempts(task).filter(({ purpose }) => purpose === undefined);
}

/** Attempts that were really tried: a task that was lost before its worker began it has lost nothing. Copies cost it nothing either. */
export function countedAttempts(task: TaskRecord): number {
  let count = 0;
  for (const { acceptedAtMs, outcome, purpose } of currentAttempts(task))
    if (purpose === undefined && (acceptedAtMs !== undefined || outcome === "failed")) count += 1;
  return count;
}

/**
 * Of the attempts that have not ended, the one that a restart of the gateway waits for: the latest that is no copy, or else the latest. A copy
 * may be with a worker that nobody relies on.
 */
export function keptAttempt({ attempts }: Pick<TaskRecord, "attempts">): AttemptRecord | undefined {
  const isOpen = ({ endedAtMs }: AttemptRecord): boolean => endedAtMs === undefined;
  const ordinary = attempts.findLast((attempt) => attempt.purpose === undefined && isOpen(attempt));
  return ordinary ?? attempts.findLast(isOpen);
}

export function modelKey({ name, version }: { name: string; version: string }): string {
  return `${name}@${version}`;
}

/** The group that a task waits in: tasks of one group can run on the same workers. */
export function groupOf({ model, placement }: Pick<TaskOrder, "model" | "placement">): string {
  return placement === undefined ? modelKey(model) : `${modelKey(model)} ${JSON.stringify(placement)}`;
}

/** What every task of a group needs. */
export interface Requirements {
  readonly model: { readonly name: string; readonly version: string };
  readonly placement: Placement | undefined;
}

/** @param group made by {@link groupOf} */
export function requirementsOf(group: string): Requirements {
  const [key = "", placement] = group.split(/ (.*)/s, 2);
  const [name = "", version = ""] = key.split("@", 2);
  return {
    model: { name, version },
    placement: placement === undefined ? undefined : (JSON.parse(placement) as Placement),
  };
}
