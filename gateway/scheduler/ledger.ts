/** The tasks in hand, from acceptance to their one end: how many there are, how many run, and what is told of each. */

import type { Clock } from "@legacygpu/shared/clock";
import { asLegacyGpuError, toWireError, type WireError } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import type { Logger } from "@legacygpu/shared/log";
import type { TaskOutput } from "@legacygpu/shared/protocol/messages";
import { isFinal, type TaskState } from "@legacygpu/shared/task";
import type { Counters } from "../metrics.ts";
import { TimeHeap } from "../queue/time-heap.ts";
import { type TaskRecord, transition } from "../tasks/record.ts";
import type { Entry } from "./entry.ts";
import { Groups } from "./groups.ts";
import { Records, type StoredTasks } from "./records.ts";
import { Throughput } from "./throughput.ts";

export interface LedgerOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly counters: Counters;
  readonly stored: StoredTasks;
  readonly onDeadline: (entry: Entry) => void;
  /** The task is about to end: it waits for nothing any more. */
  readonly onLeaving: (entry: Entry) => void;
  /** A stored task has another attempt, or one of them has changed. */
  readonly onChanged: (task: TaskRecord) => void;
  /** The task has reached a final state. */
  readonly onSettled: (task: TaskRecord) => void;
}

/** What a task ends with. */
export interface TaskEnd {
  readonly output?: TaskOutput;
  readonly error?: WireError;
}

export class Ledger {
  readonly #options: LedgerOptions;
  readonly #entries = new Map<TaskId, Entry>();
  readonly #deadlines: TimeHeap<Entry>;
  readonly records: Records;
  readonly groups = new Groups();
  readonly throughput: Throughput;
  #running = 0;

  constructor(options: LedgerOptions) {
    const { clock } = options;
    this.#options = options;
    this.records = new Records(options.stored);
    this.throughput = new Throughput(clock);
    this.#deadlines = new TimeHeap({
      clock,
      slot: { get: (entry) => entry.deadlineSlot, set: (entry, index) => (entry.deadlineSlot = index) },
      onDue: (entry) => options.onDeadline(entry),
    });
  }

  get entries(): ReadonlyMap<TaskId, Entry> {
    return this.#entries;
  }

  get pendingCount(): number {
    return this.#entries.size - this.#running;
  }

  get runningCount(): number {
    return this.#running;
  }

  get(id: TaskId): Entry | undefined {
    return this.#entries.get(id);
  }

  enter(entry: Entry): void {
    this.#entries.set(entry.id, entry);
    this.groups.add(entry.group);
    if (entry.deadlineAtMs !== undefined) this.#deadlines.add(entry, entry.deadlineAtMs);
  }

  /** The record, with its input when it is to be run. What cannot be read any more ends here, with the reason. */
  read(entry: Entry, purpose: "run" | "end"): TaskRecord | undefined {
    const nowMs = this.#options.clock.now();
    try {
      return purpose === "run" ? this.records.read(entry, nowMs) : this.records.readRecord(entry, nowMs);
    } catch (error) {
      const known = this.#noteDamage(entry, error);
      entry.task ??= this.records.damaged(entry, nowMs);
      this.settle(entry, "FAILED", { error: toWireError(known) });
      return undefined;
    }
  }

  /** The record of a task that a worker has, with its input. One that cannot be read is left to that worker. */
  readAgain(entry: Entry): TaskRecord | undefined {
    try {
      return this.records.read(entry, this.#options.clock.now());
    } catch (error) {
      this.#noteDamage(entry, error);
      return undefined;
    }
  }

  /** A task runs as long as one of those who have it has begun. */
  follow({ task, live }: Entry): void {
    if (task === undefined) return;
    const isRunning = live.some(({ record }) => record.acceptedAtMs !== undefined);
    if (isRunning === (task.state === "RUNNING")) return;
    transition(task, isRunning ? "RUNNING" : "PENDING", this.#options.clock.now());
    this.#running += isRunning ? 1 : -1;
  }

  changed(entry: Entry): void {
    if (entry.isStored && entry.task !== undefined) this.#options.onChanged(entry.task);
  }

  settle(entry: Entry, to: TaskState, { output, error }: TaskEnd): void {
    const task = this.read(entry, "end");
    // Reading it has settled it.
    if (task === undefined || isFinal(task.state)) return;
    const { clock, counters, onLeaving, onSettled } = this.#options;
    if (task.state === "RUNNING") this.#running -= 1;
    onLeaving(entry);
    this.#deadlines.remove(entry);
    this.#entries.delete(task.id);
    this.records.left(entry);
    this.groups.remove(entry.group);
    task.output = output;
    task.error = error;
    transition(task, to, clock.now());
    this.throughput.ended();
    counters.taskEnded(to, task.model.name, (task.completedAtMs ?? 0) - task.createdAtMs);
    onSettled(task);
  }

  close(): void {
    this.#deadlines.close();
    this.#entries.clear();
  }

  #noteDamage(entry: Entry, error: unknown): ReturnType<typeof asLegacyGpuError> {
    const known = asLegacyGpuError(error);
    this.#options.log.error({ err: known, taskId: entry.id }, "a stored task cannot be read");
    return known;
  }
}
