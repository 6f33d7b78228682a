/**
 * A worker as it really is: a queue, slots, model memory, and what can be wrong with it.
 *
 * What it holds in its queue is by priority, then first come first served. A run is a task or, with micro-batches, as many waiting tasks of a model
 * as it takes; each run under way slows the next one down.
 */

import type { Answer, Attempt } from "./attempt.ts";
import { ModelMemory } from "./model-memory.ts";
import { namedNormal, type RandomStream } from "./random.ts";
import type { ModelSpec, ScriptEvent, WorkerSpec } from "./scenario.ts";
import type { VirtualClock } from "./virtual-clock.ts";

/** How much the same task differs from worker to worker. */
const OWN_SIGMA = 0.12;
const ERROR_LEAST_MS = 2;
const ERROR_MEAN_MS = 3;

/** `gray`: it fails everything. `silent` and `dead`: nothing comes back; of a dead one the gateway learns. */
export type Condition = "well" | "gray" | "silent" | "dead";

export interface Run {
  readonly attempts: readonly Attempt[];
  readonly model: number;
  readonly startedAtMs: number;
  readonly loadMs: number;
  /** What a task of the model takes there on average, alone. */
  readonly meanMs: number;
  readonly concurrency: number;
}

export interface SimWorkerOptions {
  readonly clock: VirtualClock;
  readonly models: readonly ModelSpec[];
  readonly random: RandomStream;
  readonly seed: number;
  /** Slot time after it is not counted. */
  readonly endMs: number;
  readonly answer: (attempt: Attempt, answer: Answer) => void;
}

export class SimWorker {
  readonly id: number;
  readonly spec: WorkerSpec;
  readonly slots: number;
  readonly batchMax: number;
  readonly batchBeta: number;
  /** Undefined: it has all models. */
  readonly memory: ModelMemory | undefined;
  readonly waiting: Attempt[] = [];
  readonly runs: Run[] = [];
  condition: Condition = "well";
  slowness = 1;
  /** Of what it is given, the share that it fails. */
  errorShare = 0;
  busyMs = 0;
  /** What the gateway has sent there and not heard of yet. */
  readonly held: Attempt[] = [];
  /** The gateway has its connection. */
  isConnected = false;
  readonly #options: SimWorkerOptions;

  constructor(id: number, spec: WorkerSpec, options: SimWorkerOptions) {
    this.id = id;
    this.spec = spec;
    this.slots = spec.slots ?? 1;
    this.batchMax = spec.batchMax ?? 1;
    this.batchBeta = spec.batchBeta ?? 0.15;
    this.memory = spec.cap === undefined ? undefined : new ModelMemory(spec.cap, spec.resident ?? []);
    this.#options = options;
  }

  get isMute(): boolean {
    return this.condition === "silent" || this.condition === "dead";
  }

  /** What a task of the model takes on average, alone, as the worker is now. */
  meanMs(model: number): number {
    const { S, f } = this.#modelOf(model);
    const { speed = 1, slowFn } = this.spec;
    const slowness = slowFn?.(this.#options.clock.monotonic()) ?? this.slowness;
    return S * speed * slowness * (f?.({ id: this.id, ...this.spec }) ?? 1);
  }

  accept(attempt: Attempt): void {
    const { clock, random } = this.#options;
    const nowMs = clock.monotonic();
    attempt.arrivedAtMs = nowMs;
    if (this.isMute) return;
    const isFailing = this.condition === "gray" || (this.errorShare > 0 && random.next() < this.errorShare);
    if (isFailing) {
      const tookMs = ERROR_LEAST_MS + random.exponential(ERROR_MEAN_MS);
      clock.after(tookMs, () => this.#fail(attempt, tookMs));
      return;
    }
    this.#enqueue(attempt);
    this.#start();
  }

  /** @returns whether it had not begun. */
  withdraw(attempt: Attempt): boolean {
    const index = this.waiting.indexOf(attempt);
    if (this.isMute || index < 0) return false;
    this.waiting.splice(index, 1);
    return true;
  }

  suffer({ do: what, x = 1 }: ScriptEvent): void {
    switch (what) {
      case "slow":
        this.slowness = x;
        break;
      case "gray":
        this.condition = "gray";
        break;
      case "errp":
        this.errorShare = x;
        break;
      case "ok":
        if (this.condition !== "dead") this.condition = "well";
        this.errorShare = 0;
        break;
      case "hole":
      case "die":
        this.condition = what === "die" ? "dead" : "silent";
        this.waiting.length = 0;
        break;
      case "rejoin":
        this.condition = "well";
        this.slowness = 1;
        this.waiting.length = 0;
        break;
    }
  }

  #enqueue(attempt: Attempt): void {
    let index = this.waiting.length;
    if (attempt.task.plan.isUrgent) {
      while (index > 0 && this.waiting[index - 1]?.task.plan.isUrgent === false) index -= 1;
    }
    this.waiting.splice(index, 0, attempt);
  }

  #start(): void {
    while (this.runs.length < this.slots) {
      const first = this.waiting.shift();
      if (first === undefined) return;
      this.#run(this.#batchOf(first));
    }
  }

  #batchOf(first: Attempt): Attempt[] {
    const batch = [first];
    for (let i = 0; i < this.waiting.length && batch.length < this.batchMax; ) {
      const mate = this.waiting[i];
      if (mate?.task.plan.model !== first.task.plan.model) i += 1;
      else batch.push(...this.waiting.splice(i, 1));
    }
    return batch;
  }

  #run(attempts: readonly [...Attempt[]]): void {
    const { clock, models, endMs } = this.#options;
    const nowMs = clock.monotonic();
    const model = attempts[0]?.task.plan.model ?? 0;
    const loadMs = this.memory?.use(model, models[model]?.loadMs ?? 0, nowMs) ?? 0;
    const meanMs = this.meanMs(model);
    const executeMs = this.#executeMs(attempts, meanMs);
    const concurrency = this.runs.length + 1;
    const run: Run = { attempts, model, startedAtMs: nowMs, loadMs, meanMs, concurrency };
    this.runs.push(run);
    this.busyMs += Math.min(executeMs + loadMs, Math.max(0, endMs - nowMs));
    clock.after(executeMs + loadMs, () => this.#finish(run));
  }

  #executeMs(attempts: readonly Attempt[], meanMs: number): number {
    let sumMs = 0;
    for (const { task } of attempts) {
      const own = Math.exp(OWN_SIGMA * namedNormal(task.index, this.id, this.#options.seed));
      sumMs += meanMs * task.plan.work * own;
    }
    const batchMs = (sumMs / attempts.length) * (1 + this.batchBeta * (attempts.length - 1));
    return batchMs * (1 + (this.spec.cont ?? 0) * this.runs.length);
  }

  #finish(run: Run): void {
    this.runs.splice(this.runs.indexOf(run), 1);
    if (this.isMute) return;
    const { startedAtMs, loadMs, concurrency, attempts } = run;
    const executeMs = this.#options.clock.monotonic() - startedAtMs - loadMs;
    for (const attempt of attempts) {
      this.#options.answer(attempt, {
        isOk: true,
        queuedMs: startedAtMs - (attempt.arrivedAtMs ?? startedAtMs),
        executeMs,
        loadMs,
        batchSize: attempts.length,
        concurrency,
        residents: this.memory?.models(),
      });
    }
    this.#start();
  }

  #fail(attempt: Attempt, tookMs: number): void {
    if (this.isMute) return;
    this.#options.answer(attempt, {
      isOk: false,
      queuedMs: 0,
      executeMs: tookMs,
      loadMs: 0,
      batchSize: 1,
      concurrency: undefined,
      residents: this.memory?.models(),
    });
  }

  #modelOf(model: number): ModelSpec {
    const found = this.#options.models[model];
    if (found === undefined) throw new RangeError(`There is no model ${model}.`);
    return found;
  }
}
