/** The models in a worker's memory: the least recently used one makes room, and loading takes its time. */

export class ModelMemory {
  readonly capacity: number;
  /** When each is loaded; least recently used first. */
  readonly #readyAtMs: Map<number, number>;
  loads = 0;

  constructor(capacity: number, models: readonly number[]) {
    this.capacity = capacity;
    this.#readyAtMs = new Map(models.map((model) => [model, 0]));
  }

  has(model: number): boolean {
    return this.#readyAtMs.has(model);
  }

  models(): number[] {
    return [...this.#readyAtMs.keys()];
  }

  /** @returns how long it takes until the model is there. */
  use(model: number, loadMs: number, nowMs: number): number {
    const readyAtMs = this.#readyAtMs.get(model);
    if (readyAtMs !== undefined) {
      this.#readyAtMs.delete(model);
      this.#readyAtMs.set(model, readyAtMs);
      return Math.max(0, readyAtMs - nowMs);
    }
    this.loads += 1;
    for (const oldest of this.#readyAtMs.keys()) {
      if (this.#readyAtMs.size < this.capacity) break;
      this.#readyAtMs.delete(oldest);
    }
    this.#readyAtMs.set(model, nowMs + loadMs);
    return loadMs;
  }
}
