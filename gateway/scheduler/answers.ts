/**
 * What workers say of their attempts, and what follows for the tasks.
 *
 * | of an attempt that is | an answer                                                | its loss                          |
 * | --------------------- | -------------------------------------------------------- | --------------------------------- |
 * | live, among others    | a result ends the task and the others; a failure is noted | is noted                          |
 * | live, the last        | a result ends the task; a failure goes to the retry policy | goes to the retry policy          |
 * | superseded            | says that its worker is done with it                     | the same                          |
 * | dead                  | changes nothing, and is counted                          | changes nothing                   |
 */

import type { Clock, Random } from "@legacygpu/shared/clock";
import type { WireError } from "@legacygpu/shared/errors";
import type { AttemptTimings, TaskOutput } from "@legacygpu/shared/protocol/messages";
import type { Counters } from "../metrics.ts";
import type { Registry } from "../registry/registry.ts";
import type { Worker } from "../registry/worker.ts";
import type { TaskRecord } from "../tasks/record.ts";
import type { AttemptEnds } from "./attempt-ends.ts";
import type { AttemptTable, Held } from "./attempt-table.ts";
import { believable, heldMs } from "./believable.ts";
import type { Dispatching } from "./dispatching.ts";
import type { Entry } from "./entry.ts";
import type { Ledger } from "./ledger.ts";
import { afterFailure } from "./retry-policy.ts";
import { taskTimings } from "./task-timings.ts";
import type { WaitingRoom } from "./waiting-room.ts";

/**
 * What an input can bring about on any worker: the worker is blamed when another one has done the task. Otherwise whoever may send tasks could have
 * workers taken out of service.
 */
const MAY_BE_THE_TASK: ReadonlySet<string> = new Set(["model_run_failed", "runner_crashed", "out_of_memory"]);

export interface AnswersOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly registry: Registry;
  readonly counters: Counters;
}

export interface AnswersParts {
  readonly ledger: Ledger;
  readonly attempts: AttemptTable;
  readonly ends: AttemptEnds;
  readonly waiting: WaitingRoom;
  readonly dispatching: Dispatching;
}

export class Answers {
  readonly #options: AnswersOptions;
  readonly #ledger: Ledger;
  readonly #attempts: AttemptTable;
  readonly #ends: AttemptEnds;
  readonly #waiting: WaitingRoom;
  readonly #dispatching: Dispatching;

  constructor(options: AnswersOptions, parts: AnswersParts) {
    this.#options = options;
    this.#ledger = parts.ledger;
    this.#attempts = parts.attempts;
    this.#ends = parts.ends;
    this.#waiting = parts.waiting;
    this.#dispatching = parts.dispatching;
  }

  accepted(worker: Worker, token: number): void {
    const held = this.#attempts.find(worker, token);
    if (held === undefined) {
      // One that was superseded may have begun before its worker heard of that.
      if (!this.#attempts.isSuperseded(worker, token)) this.#options.counters.staleMessages += 1;
      return;
    }
    this.#noteBegun(held);
    this.#ledger.changed(held.entry);
  }

  completed(worker: Worker, token: number, output: TaskOutput, told: AttemptTimings): void {
    const held = this.#answered(worker, token, told);
    const task = held?.entry.task;
    if (held === undefined || task === undefined) return;
    const { entry, attempt } = held;
    const { clock, registry } = this.#options;
    const timings = believable(told, heldMs(attempt, clock));
    const { sentAtMs } = attempt;
    this.#noteBegun(held);
    task.timings = taskTimings(timings, { queuedAtMs: entry.queuedAtMs, sentAtMs, nowMs: clock.monotonic() });
    task.outputBytes = output.tensors.reduce((sum, { data }) => sum + data.length, 0);
    worker.completed += 1;
    this.#waiting.succeeded();
    const { model, inputBytes, outputBytes } = task;
    registry.noteAnswer(worker, { model, timings, sentAtMs, inputBytes, outputBytes });
    if (attempt.flight !== undefined) this.#dispatching.completed(attempt.flight, timings, outputBytes);
    for (const flight of entry.trouble?.suspects ?? []) this.#dispatching.blamed(flight);
    this.#ends.answered(entry, attempt, "completed");
    this.#ends.supersede(entry);
    this.#ledger.settle(entry, "COMPLETED", { output });
  }

  failed(worker: Worker, token: number, error: WireError): void {
    const held = this.#answered(worker, token);
    const task = held?.entry.task;
    if (held === undefined || task === undefined) return;
    const { entry, attempt } = held;
    worker.failed += 1;
    if (error.code === "model_load_failed") this.#options.registry.modelFailed(worker, task.model);
    if (attempt.flight !== undefined) this.#dispatching.failed(attempt.flight, worker, error);
    if (attempt.flight !== undefined && MAY_BE_THE_TASK.has(error.code))
      entry.needTrouble.suspects.push(attempt.flight);
    const isTimeout = error.code === "deadline_exceeded" || error.code === "execution_timeout";
    this.#ends.answered(entry, attempt, isTimeout ? "timed_out" : "failed", error);
    this.#noteTrouble(entry, worker, error);
    if (entry.live.length > 0) this.#goOn(entry);
    else if (isTimeout) this.#ledger.settle(entry, "TIMED_OUT", { error });
    else this.#afterFailure(entry, task, error);
  }

  lost(worker: Worker, tokens: readonly number[], cause: string): void {
    for (const token of tokens) {
      const held = this.#attempts.find(worker, token);
      if (held?.entry.task === undefined) {
        this.#ends.letGo(worker, token);
        continue;
      }
      const { entry, attempt } = held;
      this.#options.counters.attemptsLost += 1;
      const error = this.#ends.lost(entry, attempt, cause);
      this.#noteTrouble(entry, worker, error);
      if (entry.live.length > 0) this.#goOn(entry);
      else this.#afterFailure(entry, held.entry.task, error);
    }
  }

  released(worker: Worker, token: number, timings: AttemptTimings | undefined): void {
    this.#ends.letGo(worker, token, timings);
  }

  #noteBegun({ entry, attempt }: Held): void {
    attempt.record.acceptedAtMs ??= this.#options.clock.now();
    this.#ledger.follow(entry);
  }

  /** The live attempt that a worker answers. An answer to a superseded one says that the worker is done with it. */
  #answered(worker: Worker, token: number, timings?: AttemptTimings): Held | undefined {
    const held = this.#attempts.find(worker, token);
    if (held === undefined && !this.#ends.letGo(worker, token, timings))
      this.#options.counters.staleMessages += 1;
    return held;
  }

  /** One of its attempts has ended, and the task has not. */
  #goOn(entry: Entry): void {
    this.#ledger.follow(entry);
    this.#ledger.changed(entry);
  }

  /** Nobody has it any more. */
  #afterFailure(entry: Entry, task: TaskRecord, error: WireError): void {
    const { clock, random } = this.#options;
    const verdict = afterFailure(task, error, random);
    if (verdict.kind === "end") {
      task.isDeadLetter = verdict.isDeadLetter;
      this.#ledger.settle(entry, "FAILED", { error: verdict.error });
      return;
    }
    this.#goOn(entry);
    entry.needTrouble.isChargedRetry = verdict.isCharged;
    if (verdict.delayMs === 0 && !verdict.isCharged) this.#waiting.enter(entry, "front");
    else this.#waiting.park(entry, clock.now() + verdict.delayMs);
  }

  /** What its next attempt is to know. */
  #noteTrouble(entry: Entry, worker: Worker, error: WireError): void {
    const trouble = entry.needTrouble;
    trouble.lastError = error;
    trouble.triedWorkerIds.add(worker.id);
    if (error.code !== "out_of_memory") return;
    // On one with more memory, if there is any.
    const workers = [...this.#options.registry.all];
    if (!workers.some(({ memoryBytes }) => memoryBytes > worker.memoryBytes)) return;
    for (const { id, memoryBytes } of workers)
      if (memoryBytes <= worker.memoryBytes) trouble.triedWorkerIds.add(id);
  }
}
