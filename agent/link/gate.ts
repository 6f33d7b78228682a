/** Holds back, while there is no link, what could only fail without one. */

export class LinkGate {
  #link: number | undefined;
  #linkCount = 0;
  readonly #waiting = new Set<() => void>();

  /** The link that is up, a new number for each; undefined while there is none. */
  get link(): number | undefined {
    return this.#link;
  }

  open(): void {
    this.#linkCount += 1;
    this.#link = this.#linkCount;
    for (const pass of [...this.#waiting]) pass();
  }

  shut(): void {
    this.#link = undefined;
  }

  /** Resolves when there is a link, at once when there is one, and when `signal` aborts. */
  passed(signal: AbortSignal): Promise<void> {
    if (this.#link !== undefined || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const pass = (): void => {
        this.#waiting.delete(pass);
        signal.removeEventListener("abort", pass);
        resolve();
      };
      this.#waiting.add(pass);
      signal.addEventListener("abort", pass, { once: true });
    });
  }
}
