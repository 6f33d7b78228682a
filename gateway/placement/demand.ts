/** How much is asked of one deployed model: how many replicas its tasks have needed lately, and how long those that wait will wait. */

const SERVICE_GAIN = 0.2;
/** A task is never thought to be shorter. */
const MIN_SERVICE_MS = 0.05;

export interface DemandSample {
  readonly waiting: number;
  readonly inFlight: number;
  /** How long the oldest task has waited. */
  readonly oldestWaitMs: number;
  /** Tasks that its ready replicas run at a time. */
  readonly readySlots: number;
  /** How long the first of them has been ready. */
  readonly readyForMs: number;
  readonly slotsPerReplica: number;
}

export class DemandHistory {
  /** Monotonic; when at least so many replicas (index + 1) were needed last. */
  readonly #neededAtMs: number[] = [];
  #serviceMs: number | undefined;

  /** So many are, or would be, of use at this moment. */
  need(replicas: number, nowMs: number): void {
    for (let index = 0; index < replicas; index += 1) this.#neededAtMs[index] = nowMs;
  }

  /** Nothing is needed any more: somebody had it unloaded. */
  forget(): void {
    this.#neededAtMs.length = 0;
  }

  /** A task has run. @param busyMs its share of the slot's time */
  served(busyMs: number, nowMs: number): void {
    const serviceMs = Math.max(MIN_SERVICE_MS, busyMs);
    this.#serviceMs =
      this.#serviceMs === undefined
        ? serviceMs
        : this.#serviceMs + SERVICE_GAIN * (serviceMs - this.#serviceMs);
    this.need(1, nowMs);
  }

  /** Takes note of what is asked at this moment. @param maxReplicas more are never of use */
  observe({ waiting, inFlight, slotsPerReplica }: DemandSample, maxReplicas: number, nowMs: number): void {
    if (waiting + inFlight === 0) return;
    this.need(Math.min(maxReplicas, Math.ceil((waiting + inFlight) / slotsPerReplica)), nowMs);
  }

  /** How many replicas were needed at once within the last `idleTtlMs`. */
  retained(idleTtlMs: number, nowMs: number): number {
    let count = 0;
    for (const atMs of this.#neededAtMs) {
      if (nowMs - atMs >= idleTtlMs) break;
      count += 1;
    }
    return count;
  }

  /**
   * Of the last that waits. As long as nothing has ended, a task is thought to take as long as nothing has. Undefined while there is no ready
   * replica: then it waits for that, and more of them would not help.
   */
  estimatedWaitMs({ waiting, oldestWaitMs, readySlots, readyForMs }: DemandSample): number | undefined {
    if (readySlots === 0) return undefined;
    if (waiting === 0) return 0;
    const serviceMs = this.#serviceMs ?? readyForMs;
    // Slots may be busy with other models: who has waited for long tells of that.
    return Math.max((waiting * serviceMs) / readySlots, Math.min(oldestWaitMs, readyForMs));
  }
}
