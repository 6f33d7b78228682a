/** The streams that end when the server closes: nobody would see their end otherwise. */

interface EndlessStream {
  /** Ends it where it is. */
  finish(): void;
}

export class EndlessStreams {
  readonly #open = new Set<EndlessStream>();
  #state: "open" | "closing" = "open";

  /** One that comes after {@link finishAll} is ended at once. */
  add(stream: EndlessStream): void {
    if (this.#state === "closing") stream.finish();
    else this.#open.add(stream);
  }

  delete(stream: EndlessStream): void {
    this.#open.delete(stream);
  }

  finishAll(): void {
    this.#state = "closing";
    for (const stream of this.#open) stream.finish();
    this.#open.clear();
  }
}
