/** How many tasks come per millisecond: the larger of a quick and a slow average, so that a burst is seen at once and not forgotten at once. */

const QUICK_MS = 1500;
const SLOW_MS = 10_000;
const MODEL_MS = 5000;
/** A start is not taken for a burst. */
const HEAD_START_MS = 200;

export class Arrivals {
  readonly #startedAtMs: number;
  readonly #models = new Map<string, { perMs: number; atMs: number }>();
  #latestAtMs: number;
  #quick = 0;
  #slow = 0;
  #perMs = 0;

  constructor(nowMs: number) {
    this.#startedAtMs = nowMs;
    this.#latestAtMs = nowMs;
  }

  note(model: string, nowMs: number): void {
    const elapsedMs = nowMs - this.#latestAtMs;
    this.#latestAtMs = nowMs;
    this.#quick = this.#quick * Math.exp(-elapsedMs / QUICK_MS) + 1 / QUICK_MS;
    this.#slow = this.#slow * Math.exp(-elapsedMs / SLOW_MS) + 1 / SLOW_MS;
    const ageMs = nowMs - this.#startedAtMs + HEAD_START_MS;
    this.#perMs = Math.max(
      this.#quick / (1 - Math.exp(-ageMs / QUICK_MS)),
      this.#slow / (1 - Math.exp(-ageMs / SLOW_MS)),
    );
    const known = this.#models.get(model);
    if (known === undefined) {
      this.#models.set(model, { perMs: 1 / MODEL_MS, atMs: nowMs });
      return;
    }
    known.perMs = known.perMs * Math.exp((known.atMs - nowMs) / MODEL_MS) + 1 / MODEL_MS;
    known.atMs = nowMs;
  }

  /** Of all models, as it stood at the latest arrival. */
  get perMs(): number {
    return this.#perMs;
  }

  perMsOf(model: string, nowMs: number): number {
    const known = this.#models.get(model);
    return known === undefined ? 0 : known.perMs * Math.exp((known.atMs - nowMs) / MODEL_MS);
  }

  /** Forgets models that nobody has asked for in a minute. */
  sweep(nowMs: number): void {
    for (const [model, { atMs }] of this.#models) if (nowMs - atMs > 60_000) this.#models.delete(model);
  }
}
