/** That a guard let a request in, until its route has been told that all is over: once, in whichever order the two happen. */

import type { BodyHost } from "./body-sender.ts";
import type { Route } from "./exchange.ts";

export class Visit {
  readonly #host: Pick<BodyHost, "onFault">;
  #state: "outside" | "inside" | "over" = "outside";
  #finished: Route["finished"];
  #context: unknown;
  #receivedBytes = 0;

  constructor(host: Pick<BodyHost, "onFault">) {
    this.#host = host;
  }

  /** A guard that takes its time may let in what is over by then. */
  letIn({ finished }: Pick<Route, "finished">, context: unknown): void {
    this.#finished = finished;
    this.#context = context;
    if (this.#state === "over") this.#tell();
    else this.#state = "inside";
  }

  over(receivedBytes: number): void {
    const wasInside = this.#state === "inside";
    this.#state = "over";
    this.#receivedBytes = receivedBytes;
    if (wasInside) this.#tell();
  }

  #tell(): void {
    try {
      this.#finished?.(this.#context, this.#receivedBytes);
    } catch (error) {
      this.#host.onFault(error);
    }
  }
}
