/**
 * The way of a task through the agent: taken, prepared, run, finished. Says how the states in attempt.ts change; delivery.ts brings
 * what is finished to the gateway.
 *
 * A task whose input came in its frame and whose model is ready reaches the runner in the turn in which it arrives.
 */

import type { Clock, Timer } from "@legacygpu/shared/clock";
import { asLegacyGpuError, type ErrorCode, fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import type {
  AgentMessage,
  AttemptTimings,
  GatewayMessage,
  MessageOf,
  TaskInput,
} from "@legacygpu/shared/protocol/messages";
import type { Job, LocalModel, RunResult, Ticket } from "../runner/job.ts";
import { type Attempt, AttemptTable } from "./attempt.ts";
import { Delivery, type DeliveryPorts } from "./delivery.ts";
import type { Outcome } from "./outcome.ts";
import { failedMessage, inputBytesOf, outcomeOf, ownInput, timingsOf } from "./payloads.ts";
import type { SpooledAttempt } from "./spool.ts";

export type Task = MessageOf<GatewayMessage, "task">;

export interface TaskFlowPorts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly runner: { submit(job: Job): Ticket; stop(ticket: Ticket, graceMs: number): void };
  readonly models: { acquire(name: string, version: string): LocalModel | Promise<LocalModel> };
  readonly transfers: DeliveryPorts["transfers"] & {
    fetchInput(attempt: Attempt, signal: AbortSignal): Promise<TaskInput>;
  };
  readonly spool: DeliveryPorts["spool"] & { all(): readonly SpooledAttempt[] };
  /** @returns false when there is no link. */
  send(message: AgentMessage, onDelivered?: () => void): boolean;
}

/** A cancelled task gets so long to end by itself: killing the runner costs every model that it has loaded. */
const CANCEL_GRACE_MS = 1000;

/** A task that is done sooner is not reported as begun: that would double the frames of small models and tell nobody anything. */
const BEGUN_DELAY_MS = 10;

/** An attempt as a greeting names it. */
export interface Held {
  readonly taskId: string;
  readonly token: number;
}

export class TaskFlow {
  readonly #ports: TaskFlowPorts;
  readonly #attempts = new AttemptTable();
  readonly #delivery: Delivery;
  /** Tokens of superseded attempts: on this link the gateway waits to hear that they are over. */
  readonly #owedReleases = new Set<number>();
  #state: "open" | "draining" | "drained" = "open";
  #onEmpty: () => void = () => {};
  #begun: Attempt[] = [];
  #begunTimer: Timer | undefined;

  constructor(ports: TaskFlowPorts) {
    this.#ports = ports;
    const { log, spool, transfers, send, clock } = ports;
    this.#delivery = new Delivery(this.#attempts, {
      log,
      spool,
      transfers,
      send,
      onDelivered: (attempt) => this.#remove(attempt),
      onDropped: (attempt, reason) => this.#drop(attempt, reason),
    });
    for (const spooled of spool.all()) this.#attempts.adopt(spooled, clock.monotonic());
  }

  get heldCount(): number {
    return this.#attempts.size;
  }

  get spooledCount(): number {
    return this.#attempts.spooledCount;
  }

  /** What a new connection must be told of, oldest first. */
  held(): Held[] {
    const wanted = this.#attempts.all().filter(({ state }) => state !== "superseded");
    return wanted.map(({ taskId, token }) => ({ taskId, token }));
  }

  take(task: Task): void {
    if (this.#attempts.get(task.token) !== undefined) return;
    const inputBytes = inputBytesOf(task.input);
    if (this.#state !== "open") {
      this.#refuse(task, "worker_draining");
      return;
    }
    if (!this.#attempts.hasRoomFor(inputBytes)) {
      this.#refuse(task, "queue_full");
      return;
    }
    const attempt = this.#attempts.add(task, this.#ports.clock.monotonic(), inputBytes);
    if (task.budgetMs !== undefined) this.#setDeadline(attempt, task.budgetMs);
    this.#begin(attempt, task);
  }

  cancel(token: number, reason: string): void {
    const attempt = this.#attempts.get(token);
    if (attempt !== undefined) this.#drop(attempt, reason);
  }

  /**
   * Another worker was faster. What has not begun is dropped; what runs goes on to its end, because killing its runner would cost all that
   * is loaded there, and because the time that it takes tells how fast this worker is. The gateway is told when it is over.
   */
  supersede({ taskId, token }: Held, reason: string): void {
    const attempt = this.#attempts.get(token);
    if (attempt?.state === "superseded") return;
    this.#owedReleases.add(token);
    if (attempt?.state === "running" && attempt.ticket?.state === "running") {
      this.#attempts.transition(attempt, "superseded");
      return;
    }
    this.#release({ taskId, token }, attempt && finishedTimings(attempt));
    if (attempt !== undefined) this.#drop(attempt, reason, Number.POSITIVE_INFINITY);
  }

  /**
   * There is a link. What the greeting had no room for goes on: its token decides when it is delivered.
   * @param keep of the tokens that were announced, those that the gateway still wants.
   */
  resume(announced: readonly Held[], keep: readonly number[]): void {
    const live = new Set(keep);
    for (const { token } of announced) {
      const attempt = this.#attempts.get(token);
      if (attempt !== undefined && !live.has(token)) this.#drop(attempt, "the gateway has given it up");
    }
    // A gateway that has been restarted does not know, and on the last link the word may have been lost.
    for (const attempt of this.#attempts.all()) if (attempt.state === "running") this.#tellBegun(attempt);
    this.#delivery.onLinked();
  }

  onLinkLost(): void {
    // The gateway takes them for released.
    this.#owedReleases.clear();
    this.#delivery.onLinkLost();
  }

  /** Takes nothing new; resolves when nothing is held. */
  drain(): Promise<void> {
    if (this.#state === "open") this.#state = "draining";
    if (this.#attempts.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const earlier = this.#onEmpty;
      this.#onEmpty = () => {
        earlier();
        resolve();
      };
    });
  }

  /** Ends what is not finished; what is finished and undelivered is on the disk afterwards. */
  async close(): Promise<void> {
    this.#state = "drained";
    this.#begunTimer?.cancel();
    for (const attempt of this.#attempts.all())
      if (attempt.state !== "finished") this.#drop(attempt, "the agent is closing");
    await this.#delivery.close();
    for (const attempt of this.#attempts.all()) this.#remove(attempt);
  }

  #refuse(task: Task, code: ErrorCode): void {
    this.#ports.send(failedMessage(task, fail(code)));
  }

  #setDeadline(attempt: Attempt, budgetMs: number): void {
    attempt.deadline = this.#ports.clock.after(budgetMs, () => {
      if (attempt.ticket !== undefined) this.#ports.runner.stop(attempt.ticket, 0);
      this.#fail(attempt, fail("deadline_exceeded", undefined, { budgetMs }));
    });
  }

  #begin(attempt: Attempt, task: Task): void {
    if (task.budgetMs === 0) {
      this.#fail(attempt, fail("deadline_exceeded"));
      return;
    }
    try {
      const model = this.#ports.models.acquire(task.model.name, task.model.version);
      if (model instanceof Promise || task.input.kind === "beside") void this.#prepare(attempt, task, model);
      else this.#submit(attempt, task, model, ownInput(task.input));
    } catch (error) {
      this.#fail(attempt, asLegacyGpuError(error));
    }
  }

  async #prepare(attempt: Attempt, task: Task, model: LocalModel | Promise<LocalModel>): Promise<void> {
    const { clock } = this.#ports;
    const elapsedMs = (): number => clock.monotonic() - attempt.arrivedAt;
    // The frame's memory is free once we return.
    const inline = task.input.kind === "beside" ? undefined : ownInput(task.input);
    try {
      const [input, local] = await Promise.all([
        inline ?? this.#fetchInput(attempt).finally(() => (attempt.fetchMs = elapsedMs())),
        Promise.resolve(model).finally(() => (attempt.modelMs = model instanceof Promise ? elapsedMs() : 0)),
      ]);
      if (attempt.state === "preparing") this.#submit(attempt, task, local, input);
    } catch (error) {
      this.#fail(attempt, asLegacyGpuError(error));
    }
  }

  #fetchInput(attempt: Attempt): Promise<TaskInput> {
    attempt.transfer = new AbortController();
    return this.#ports.transfers.fetchInput(attempt, attempt.transfer.signal);
  }

  #submit(attempt: Attempt, task: Task, model: LocalModel, input: TaskInput): void {
    this.#attempts.transition(attempt, "queued");
    attempt.ticket = this.#ports.runner.submit({
      model,
      input,
      inputBytes: inputBytesOf(input),
      outputs: task.outputs,
      executionLimitMs: task.executionLimitMs,
      onStarted: () => {
        this.#attempts.transition(attempt, "running");
        this.#tellBegun(attempt);
      },
      onDone: (result) => this.#onDone(attempt, result),
      onFailed: (error) => this.#fail(attempt, error),
    });
  }

  #tellBegun(attempt: Attempt): void {
    this.#begun.push(attempt);
    this.#begunTimer ??= this.#ports.clock.after(BEGUN_DELAY_MS, () => {
      this.#begunTimer = undefined;
      for (const { state, taskId, token } of this.#begun.splice(0)) {
        if (state === "running") this.#ports.send({ type: "accepted", taskId, token });
      }
    });
  }

  #onDone(attempt: Attempt, result: RunResult): void {
    if (attempt.state === "superseded") {
      this.#release(attempt, timingsOf(attempt, result));
      this.#remove(attempt);
      return;
    }
    try {
      this.#finish(attempt, outcomeOf(attempt, result));
    } catch (error) {
      this.#fail(attempt, asLegacyGpuError(error));
    }
  }

  #fail(attempt: Attempt, error: LegacyGpuError): void {
    if (attempt.state === "finished" || attempt.state === "gone") return;
    if (attempt.state === "superseded") {
      this.#remove(attempt);
      return;
    }
    this.#ports.log.info({ taskId: attempt.taskId, token: attempt.token, code: error.code }, error.message);
    this.#finish(attempt, { kind: "inline", message: failedMessage(attempt, error) });
  }

  #finish(attempt: Attempt, outcome: Outcome): void {
    this.#attempts.transition(attempt, "finished");
    attempt.ticket = undefined;
    this.#attempts.keepOutcome(attempt, outcome);
    for (const victim of this.#attempts.overflow())
      this.#drop(victim, "too many outcomes wait for the gateway");
    if (attempt.state === "finished") this.#delivery.add(attempt);
  }

  /** Where it is owed. */
  #release({ taskId, token }: Held, timings: AttemptTimings | undefined): void {
    if (this.#owedReleases.delete(token)) this.#ports.send({ type: "released", taskId, token, timings });
  }

  #drop(attempt: Attempt, reason: string, graceMs = CANCEL_GRACE_MS): void {
    this.#ports.log.debug(
      { taskId: attempt.taskId, token: attempt.token, state: attempt.state, reason },
      "an attempt is dropped",
    );
    if (attempt.ticket !== undefined) this.#ports.runner.stop(attempt.ticket, graceMs);
    this.#remove(attempt);
  }

  #remove(attempt: Attempt): void {
    attempt.ticket = undefined;
    this.#attempts.transition(attempt, "gone");
    this.#release(attempt, undefined);
    this.#delivery.forget(attempt);
    if (this.#attempts.size === 0) this.#onEmpty();
  }
}

/** Of a result that is on its way. */
function finishedTimings({ outcome }: Attempt): AttemptTimings | undefined {
  if (outcome === undefined || outcome.kind === "spooled") return undefined;
  return outcome.message.type === "result" ? outcome.message.timings : undefined;
}
