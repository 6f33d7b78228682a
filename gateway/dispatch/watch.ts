/** Which workers are being spared: ejected because they fail, or silent. */

import type { Fleet } from "./fleet.ts";
import type { FleetWorker } from "./fleet-worker.ts";
import type { DispatcherOptions } from "./ports.ts";

/** What a worker holds that has been silent for so many times as long as makes it silent is copied. */
const RESCUE_SILENCE = 1.5;
/** Between two looks, which are due five times a second. */
const STOOD_STILL_MS = 450;

export class Watch {
  readonly #options: DispatcherOptions;
  readonly #fleet: Fleet;
  readonly #ejected = new Set<FleetWorker>();
  #lookedAtMs: number;

  constructor(options: DispatcherOptions, fleet: Fleet) {
    this.#options = options;
    this.#fleet = fleet;
    this.#lookedAtMs = options.clock.monotonic();
  }

  get ejected(): ReadonlySet<FleetWorker> {
    return this.#ejected;
  }

  /** Never more than half of the fleet: when most of it fails, it is something else that is broken. */
  eject(worker: FleetWorker): void {
    const { clock, random, onHealth } = this.#options;
    if (!this.#ejected.has(worker)) {
      if (this.#ejected.size >= Math.max(1, Math.floor(this.#fleet.workers.length / 2))) return;
      this.#ejected.add(worker);
    }
    const forMs = worker.health.eject(clock.monotonic(), random);
    onHealth?.(worker, false, forMs);
  }

  trust(worker: FleetWorker): void {
    this.#ejected.delete(worker);
    this.#options.onHealth?.(worker, true, 0);
  }

  left(worker: FleetWorker): void {
    this.#ejected.delete(worker);
  }

  /**
   * Who has fallen silent, or is heard of again, or takes a model again that it refused?
   *
   * @param rescue called for each worker whose tasks should be copied
   * @returns whether something may be possible now that was not
   */
  look(rescue: (worker: FleetWorker) => void): boolean {
    const nowMs = this.#options.clock.monotonic();
    const hasStoodStill = nowMs - this.#lookedAtMs > STOOD_STILL_MS;
    this.#lookedAtMs = nowMs;
    // This process did not listen either: what has come meanwhile is read first.
    if (hasStoodStill) return false;
    let isChanged = false;
    for (const worker of this.#fleet.workers) {
      const { health, facts, oneWayMs } = worker;
      // Of one whose link is known to be broken the work is kept: it goes on computing, and will be back.
      const silence = worker.isAvailable ? health.silence(nowMs, 2 * oneWayMs, facts.path.deviationMs) : 0;
      const isSilent = silence > 1;
      const takesMore = worker.forgetRefusals(nowMs);
      if (health.isSilent !== isSilent || takesMore) {
        health.isSilent = isSilent;
        this.#fleet.refresh(worker, nowMs);
        isChanged = true;
      }
      if (silence > RESCUE_SILENCE) rescue(worker);
    }
    return isChanged;
  }
}
