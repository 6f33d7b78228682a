/** How long a worker takes for a task of each model, and how much that varies. */

export interface ServiceTime {
  readonly count: number;
  readonly meanMs: number;
  /** Mean deviation. */
  readonly deviationMs: number;
  readonly lastMs: number;
}

/** Agents run what they are sent, but a name with a version is cheap to invent. */
const MAX_MODELS = 256;
const GAIN = 0.1;

interface Moving {
  count: number;
  meanMs: number;
  deviationMs: number;
  lastMs: number;
}

export class ServiceTimes {
  /** The one that was served last comes last. */
  readonly #models = new Map<string, Moving>();

  /** By name and version. */
  get all(): Iterable<readonly [string, ServiceTime]> {
    return this.#models;
  }

  get(model: string): ServiceTime | undefined {
    return this.#models.get(model);
  }

  served(model: string, serviceMs: number): void {
    const known = this.#models.get(model);
    if (known === undefined) {
      this.#models.set(model, { count: 1, meanMs: serviceMs, deviationMs: 0, lastMs: serviceMs });
      this.#forgetOldest();
      return;
    }
    this.#models.delete(model);
    this.#models.set(model, known);
    known.count += 1;
    known.lastMs = serviceMs;
    // The first few are simply averaged.
    const gain = Math.max(1 / known.count, GAIN);
    const errorMs = serviceMs - known.meanMs;
    known.meanMs += gain * errorMs;
    known.deviationMs += gain * (Math.abs(errorMs) - known.deviationMs);
  }

  #forgetOldest(): void {
    if (this.#models.size <= MAX_MODELS) return;
    const [oldest] = this.#models.keys();
    if (oldest !== undefined) this.#models.delete(oldest);
  }
}
