/** What has happened since the start: plain counters, and the latencies of the latest tasks. */

import type { TaskState } from "@legacygpu/shared/task";

/** Enough for a steady p99, small enough to sort when somebody asks. */
const LATENCY_SAMPLES = 2048;

export class Counters {
  readonly ended: Record<"COMPLETED" | "FAILED" | "CANCELLED" | "TIMED_OUT", number> = {
    COMPLETED: 0,
    FAILED: 0,
    CANCELLED: 0,
    TIMED_OUT: 0,
  };
  /** Attempts that ended because their worker was lost. */
  attemptsLost = 0;
  /** Messages whose token was no longer live. */
  staleMessages = 0;
  /** Messages of a type that this version does not know. */
  unknownMessages = 0;
  readonly #latenciesMs = new Float64Array(LATENCY_SAMPLES);
  #latencyCount = 0;

  taskEnded(state: TaskState, latencyMs: number): void {
    if (state === "PENDING" || state === "RUNNING") return;
    this.ended[state] += 1;
    if (state !== "COMPLETED") return;
    this.#latenciesMs[this.#latencyCount % LATENCY_SAMPLES] = latencyMs;
    this.#latencyCount += 1;
  }

  /** From submission to the end, of the latest completed tasks. */
  latencyMs(): { p50: number; p99: number } | null {
    if (this.#latencyCount === 0) return null;
    const sorted = this.#latenciesMs.slice(0, Math.min(this.#latencyCount, LATENCY_SAMPLES)).sort();
    const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
    return { p50: at(0.5), p99: at(0.99) };
  }
}
