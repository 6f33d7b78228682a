/** Work on the same thing, one after another; work on different things does not wait for each other. */

export class Turns {
  /** The latest work on each thing, while there is any. */
  readonly #latest = new Map<string, Promise<unknown>>();

  take<Result>(thing: string, work: () => Promise<Result>): Promise<Result> {
    const result = (this.#latest.get(thing) ?? Promise.resolve()).then(work);
    const settled = result
      .catch(() => {})
      .then(() => {
        if (this.#latest.get(thing) === settled) this.#latest.delete(thing);
      });
    this.#latest.set(thing, settled);
    return result;
  }
}
