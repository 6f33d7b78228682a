/** Who wants to know that a client hung up before it had its answer. */

import type { BodyHost } from "./body-sender.ts";

export class HangUp {
  readonly #host: Pick<BodyHost, "onFault">;
  #listeners: (() => void)[] | undefined;
  #state: "possible" | "happened" | "impossible" = "possible";

  constructor(host: Pick<BodyHost, "onFault">) {
    this.#host = host;
  }

  /** Calls `listener` once: when it happens, or soon if it has happened. */
  listen(listener: () => void): void {
    if (this.#state === "happened") queueMicrotask(() => this.#tell(listener));
    if (this.#state !== "possible") return;
    this.#listeners ??= [];
    this.#listeners.push(listener);
  }

  happened(): void {
    const listeners = this.#listeners ?? [];
    this.#listeners = undefined;
    this.#state = "happened";
    for (const listener of listeners) this.#tell(listener);
  }

  /** All is over. */
  ruledOut(): void {
    this.#listeners = undefined;
    if (this.#state === "possible") this.#state = "impossible";
  }

  #tell(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.#host.onFault(error);
    }
  }
}
