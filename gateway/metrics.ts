/** What has happened since the start: plain counters, and the latencies of the latest tasks. */

import type { TaskState } from "@legacygpu/shared/task";

/** Enough for a steady p99, small enough to sort when somebody asks. */
const LATENCY_SAMPLES = 2048;
const MODEL_LATENCY_SAMPLES = 512;

export class Counters {
  readonly ended: Record<"COMPLETED" | "FAILED" | "CANCELLED" | "TIMED_OUT", number> = {
    COMPLETED: 0,
    FAILED: 0,
    CANCELLED: 0,
    TIMED_OUT: 0,
  };
  /** Attempts that ended because their worker was lost. */
  attemptsLost = 0;
  /** Attempts that their worker had back after its link, or the gateway, was gone for a while. */
  attemptsReclaimed = 0;
  /** Messages whose token was no longer live. */
  staleMessages = 0;
  /** Messages of a type that this version does not know. */
  unknownMessages = 0;
  /** Answers to pings that were not out: the round trip of such a worker is not to be had from it. */
  unknownPongs = 0;
  readonly #latencies = new LatencySamples(LATENCY_SAMPLES);
  readonly #latenciesOfModels = new Map<string, LatencySamples>();

  taskEnded(state: TaskState, model: string, latencyMs: number): void {
    if (state === "PENDING" || state === "RUNNING") return;
    this.ended[state] += 1;
    if (state !== "COMPLETED") return;
    this.#latencies.add(latencyMs);
    let ofModel = this.#latenciesOfModels.get(model);
    if (ofModel === undefined) {
      ofModel = new LatencySamples(MODEL_LATENCY_SAMPLES);
      this.#latenciesOfModels.set(model, ofModel);
    }
    ofModel.add(latencyMs);
  }

  /** From submission to the end, of the latest completed tasks. */
  latencyMs(): { p50: number; p99: number } | null {
    const [p50, p99] = this.#latencies.percentiles(0.5, 0.99);
    return p50 === undefined || p99 === undefined ? null : { p50, p99 };
  }

  /** The same of one model. */
  latencyOfModelMs(model: string): { p50: number; p95: number } | null {
    const [p50, p95] = this.#latenciesOfModels.get(model)?.percentiles(0.5, 0.95) ?? [];
    return p50 === undefined || p95 === undefined ? null : { p50, p95 };
  }
}

class LatencySamples {
  readonly #latestMs: Float64Array;
  #count = 0;

  constructor(size: number) {
    this.#latestMs = new Float64Array(size);
  }

  add(latencyMs: number): void {
    this.#latestMs[this.#count % this.#latestMs.length] = latencyMs;
    this.#count += 1;
  }

  /** Empty before the first sample. */
  percentiles(...shares: number[]): number[] {
    if (this.#count === 0) return [];
    const sorted = this.#latestMs.slice(0, Math.min(this.#count, this.#latestMs.length)).sort();
    return shares.map((share) => sorted[Math.floor(share * (sorted.length - 1))] ?? 0);
  }
}
