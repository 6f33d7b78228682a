/**
 * The events of a task, derived from its record: so they are as durable as the record, and can be told again from any number on.
 *
 * Within a life: `queued`, then for each attempt `assigned`, `started` when the worker said so, and `attempt_failed` unless it was the last; at
 * the end `completed`. A record only grows, and so does this list. The number of an event is its place in it, from 1.
 *
 * A copy beside another attempt is told of only when it was answered first, just before `completed`: told as they happen, the events of two attempts
 * that go on side by side would have no order that a record could be read back in.
 */

import type { WireError } from "@legacygpu/shared/errors";
import { isFinal } from "@legacygpu/shared/task";
import type { AttemptRecord, TaskRecord } from "./record.ts";

export interface TaskEvent {
  readonly seq: number;
  readonly name: "queued" | "assigned" | "started" | "attempt_failed" | "completed";
  readonly atMs: number;
  readonly attempt?: { readonly n: number; readonly record: AttemptRecord } | undefined;
  readonly error?: WireError | undefined;
  /** The end of an earlier life: not of the task. */
  readonly isEarlier?: boolean;
}

export function taskEvents(task: TaskRecord): TaskEvent[] {
  const list = new EventList();
  let from = 0;
  let queuedAtMs = task.createdAtMs;
  for (const round of task.earlierRounds) {
    list.add({ name: "queued", atMs: queuedAtMs });
    list.addAttempts(task, from, round.attempts);
    list.add({ name: "completed", atMs: round.endedAtMs, error: round.error, isEarlier: true });
    from = round.attempts;
    queuedAtMs = round.retriedAtMs;
  }
  list.add({ name: "queued", atMs: queuedAtMs });
  list.addAttempts(task, from, task.attempts.length);
  list.addWinningCopy(task, from);
  if (isFinal(task.state))
    list.add({ name: "completed", atMs: task.completedAtMs ?? queuedAtMs, error: task.error });
  return list.events;
}

class EventList {
  readonly events: TaskEvent[] = [];

  add(event: Omit<TaskEvent, "seq">): void {
    this.events.push({ seq: this.events.length + 1, ...event });
  }

  addAttempts({ attempts }: TaskRecord, from: number, to: number): void {
    for (let index = from; index < to; index += 1) {
      const record = attempts[index];
      if (record === undefined) return;
      if (record.purpose !== undefined) continue;
      const attempt = { n: index + 1, record };
      this.#addBeginning(attempt);
      const hasFailed =
        record.outcome === "failed" || record.outcome === "worker_lost" || record.outcome === "timed_out";
      if (hasFailed && record.endedAtMs !== undefined)
        this.add({ name: "attempt_failed", atMs: record.endedAtMs, attempt, error: record.error });
    }
  }

  addWinningCopy({ attempts }: TaskRecord, from: number): void {
    for (let index = from; index < attempts.length; index += 1) {
      const record = attempts[index];
      if (record?.purpose !== undefined && record.outcome === "completed")
        this.#addBeginning({ n: index + 1, record });
    }
  }

  #addBeginning(attempt: NonNullable<TaskEvent["attempt"]>): void {
    const { startedAtMs, acceptedAtMs } = attempt.record;
    this.add({ name: "assigned", atMs: startedAtMs, attempt });
    if (acceptedAtMs !== undefined) this.add({ name: "started", atMs: acceptedAtMs, attempt });
  }
}
