/** What is known of things that others name: of so many of them at most, and of those that were written of last. */

export class Latest<Value> {
  readonly #limit: number;
  /** The one that was written longest ago comes first. */
  readonly #values = new Map<string, Value>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#values.size;
  }

  get(name: string): Value | undefined {
    return this.#values.get(name);
  }

  set(name: string, value: Value): void {
    this.#values.delete(name);
    this.#values.set(name, value);
    if (this.#values.size <= this.#limit) return;
    const [oldest] = this.#values.keys();
    if (oldest !== undefined) this.#values.delete(oldest);
  }

  values(): Iterable<Value> {
    return this.#values.values();
  }
}
