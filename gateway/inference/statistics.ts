/**
 * The statistics extension: what has been inferred since the start, by model and version, and where the time went.
 *
 * Everything that a worker has answered counts, by whichever way it was asked for. The way to the worker and back shows as `compute_input` and
 * `compute_output`, so that the tools which read these numbers show the legs of the network without knowing of them.
 */

import { INLINE_PAYLOAD_BYTES } from "@legacygpu/shared/protocol/version";
import { modelKey, type TaskRecord, type TaskTimings } from "../tasks/record.ts";

type ModelName = Pick<TaskRecord["model"], "name" | "version">;

interface Duration {
  readonly count: number;
  readonly ns: number;
}

export interface ModelStatistics {
  readonly name: string;
  readonly version: string;
  /** Milliseconds since the Unix epoch; 0: never. */
  readonly last_inference: number;
  /** Elements of batches. */
  readonly inference_count: number;
  /** Runs of the model. */
  readonly execution_count: number;
  readonly inference_stats: Readonly<Record<Leg | "cache_hit" | "cache_miss", Duration>>;
  readonly response_stats: Readonly<Record<string, never>>;
  readonly batch_stats: readonly BatchStatistics[];
  readonly memory_usage: readonly never[];
}
type BatchStatistics = { readonly batch_size: number } & Readonly<
  Record<"compute_input" | "compute_infer" | "compute_output", Duration>
>;

const LEGS = ["success", "fail", "queue", "compute_input", "compute_infer", "compute_output"] as const;
type Leg = (typeof LEGS)[number];
const NONE: Duration = { count: 0, ns: 0 };
const NS_PER_MS = 1e6;
/** What a message on the link takes without the tensors in it. */
const MESSAGE_BYTES = 512;

/** One answered task. */
interface Served {
  /** Of its batch dimension. */
  readonly elements: number;
  /** Tasks in the run that it was part of; its worker says that. */
  readonly tasksInRun: number;
  readonly queueMs: number;
  readonly inputMs: number;
  readonly inferMs: number;
  readonly outputMs: number;
}

export class InferenceStatistics {
  readonly #models = new Map<string, ModelTotals>();
  readonly #isBatched: (model: ModelName) => boolean;

  /** @param isBatched whether the first dimension of the model's tensors counts inferences */
  constructor(isBatched: (model: ModelName) => boolean) {
    this.#isBatched = isBatched;
  }

  /** For whoever hears of the end of every task. */
  settled(task: TaskRecord): void {
    const { model, state, timings, completedAtMs = task.createdAtMs } = task;
    const totals = this.#totalsOf(model);
    const elements = this.#isBatched(model) ? (task.output?.tensors[0]?.shape[0] ?? 1) : 1;
    if (state === "COMPLETED" && timings !== undefined)
      totals.served(servedBy(task, timings, elements), completedAtMs);
    else if (state !== "COMPLETED") totals.failed(completedAtMs - task.createdAtMs, completedAtMs);
  }

  of(model: ModelName): ModelStatistics {
    return (this.#models.get(modelKey(model)) ?? new ModelTotals()).toJson(model.name, model.version);
  }

  #totalsOf(model: ModelName): ModelTotals {
    const key = modelKey(model);
    const known = this.#models.get(key);
    if (known !== undefined) return known;
    const totals = new ModelTotals();
    this.#models.set(key, totals);
    return totals;
  }
}

class ModelTotals {
  readonly #ms: Record<Leg, number> = {
    success: 0,
    fail: 0,
    queue: 0,
    compute_input: 0,
    compute_infer: 0,
    compute_output: 0,
  };
  readonly #batches = new Map<number, BatchTotals>();
  #successes = 0;
  #failures = 0;
  #elements = 0;
  /** Tasks that shared a run have a part of it each. */
  #runs = 0;
  #lastAtMs = 0;

  served({ elements, tasksInRun, queueMs, inputMs, inferMs, outputMs }: Served, nowMs: number): void {
    const share = 1 / tasksInRun;
    // The others of its run are taken to be as large as itself.
    const batchSize = elements * tasksInRun;
    this.#successes += 1;
    this.#elements += elements;
    this.#runs += share;
    this.#lastAtMs = nowMs;
    this.#ms.success += queueMs + inputMs + inferMs + outputMs;
    this.#ms.queue += queueMs;
    this.#ms.compute_input += inputMs;
    this.#ms.compute_infer += inferMs;
    this.#ms.compute_output += outputMs;
    let batch = this.#batches.get(batchSize);
    if (batch === undefined) {
      batch = { runs: 0, inputMs: 0, inferMs: 0, outputMs: 0 };
      this.#batches.set(batchSize, batch);
    }
    batch.runs += share;
    batch.inputMs += inputMs * share;
    batch.inferMs += inferMs * share;
    batch.outputMs += outputMs * share;
  }

  failed(totalMs: number, nowMs: number): void {
    this.#failures += 1;
    this.#ms.fail += totalMs;
    this.#lastAtMs = nowMs;
  }

  toJson(name: string, version: string): ModelStatistics {
    const of = (leg: Leg, count: number): Duration => duration(count, this.#ms[leg]);
    const successes = this.#successes;
    return {
      name,
      version,
      last_inference: this.#lastAtMs,
      inference_count: this.#elements,
      execution_count: Math.round(this.#runs),
      inference_stats: {
        success: of("success", successes),
        fail: of("fail", this.#failures),
        queue: of("queue", successes),
        compute_input: of("compute_input", successes),
        compute_infer: of("compute_infer", successes),
        compute_output: of("compute_output", successes),
        cache_hit: NONE,
        cache_miss: NONE,
      },
      response_stats: {},
      batch_stats: [...this.#batches].sort(([a], [b]) => a - b).map(batchJson),
      memory_usage: [],
    };
  }
}

interface BatchTotals {
  runs: number;
  inputMs: number;
  inferMs: number;
  outputMs: number;
}

function batchJson([size, { runs, inputMs, inferMs, outputMs }]: [number, BatchTotals]): BatchStatistics {
  const count = Math.round(runs);
  return {
    batch_size: size,
    compute_input: duration(count, inputMs),
    compute_infer: duration(count, inferMs),
    compute_output: duration(count, outputMs),
  };
}

function duration(count: number, ms: number): Duration {
  return { count, ns: Math.round(ms * NS_PER_MS) };
}

/** Nobody measures the two directions apart: the time of the round trip is shared by the bytes that went each way. */
function servedBy(task: TaskRecord, { onWorker, queueMs, networkMs }: TaskTimings, elements: number): Served {
  const { inputBytes, outputBytes = 0 } = task;
  // A larger input travels beside the link, and its worker says how long that took.
  const inlineBytes = inputBytes > INLINE_PAYLOAD_BYTES ? 0 : inputBytes;
  const downBytes = inlineBytes + MESSAGE_BYTES;
  const toWorkerMs = (networkMs * downBytes) / (downBytes + outputBytes + MESSAGE_BYTES);
  return {
    elements,
    tasksInRun: onWorker.batchSize ?? 1,
    queueMs: queueMs + onWorker.queuedMs + onWorker.loadMs,
    inputMs: toWorkerMs + onWorker.fetchMs + onWorker.preprocessMs,
    inferMs: onWorker.executeMs,
    outputMs: onWorker.postprocessMs + networkMs - toWorkerMs,
  };
}
