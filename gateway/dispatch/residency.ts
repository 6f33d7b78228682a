/** Which models are in the memory of a worker, as it last told and as what is on its way there will change it. */

export class Residency {
  readonly #capacity: number;
  /** In order of use; undefined: it has never told, and is taken to have them all. */
  #models: Set<string> | undefined;
  #signature: string | undefined;
  /** When a task was sent to it whose model it has to load. */
  loadingSinceMs = Number.NEGATIVE_INFINITY;

  constructor(capacity: number | undefined) {
    this.#capacity = capacity ?? Number.POSITIVE_INFINITY;
  }

  get isFull(): boolean {
    return this.#models !== undefined && this.#models.size >= this.#capacity;
  }

  /** The model that leaves when another one is loaded into a full memory. */
  get leastRecentlyUsed(): string | undefined {
    return this.#models?.values().next().value;
  }

  /** Workers with equal texts have the same models. */
  get signature(): string {
    this.#signature ??= this.#models === undefined ? "*" : [...this.#models].toSorted().join(" ");
    return this.#signature;
  }

  has(model: string): boolean {
    return this.#models === undefined || this.#models.has(model);
  }

  /**
   * @param models in its memory, least recently used first
   * @param underWay models of the tasks that it holds, in order
   */
  told(models: readonly string[], underWay: Iterable<string>): void {
    this.#models = new Set(models);
    this.#signature = undefined;
    for (const model of underWay) this.use(model);
  }

  /** A task of the model is on its way there. */
  use(model: string): void {
    const models = this.#models;
    if (models === undefined) return;
    if (!models.delete(model)) this.#signature = undefined;
    while (models.size >= this.#capacity && models.size > 0) models.delete(this.leastRecentlyUsed as string);
    models.add(model);
  }
}
