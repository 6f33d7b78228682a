/** The time limit and the cancellation of one request, and what it means when one of them ended it. */

import type { Clock, Timer } from "@legacygpu/shared/clock";
import { fail, LegacyGpuError } from "@legacygpu/shared/errors";
import { type Destination, networkFailure } from "./network-failure.ts";

export interface LimitedRequest {
  /** Method and path, for messages. */
  readonly name: string;
  /** `Infinity`: no limit. */
  readonly timeoutMs: number;
  readonly destination: Destination;
}

export class TimeLimit {
  readonly signal: AbortSignal;
  readonly #request: LimitedRequest;
  readonly #clock: Clock;
  readonly #callers: AbortSignal | undefined;
  readonly #expiry = new AbortController();
  #timer: Timer | undefined;

  /** Begins at once. */
  constructor(request: LimitedRequest, clock: Clock, callers: AbortSignal | undefined) {
    this.#request = request;
    this.#clock = clock;
    this.#callers = callers;
    this.signal =
      callers === undefined ? this.#expiry.signal : AbortSignal.any([callers, this.#expiry.signal]);
    this.restart();
  }

  /** The whole time is there again. */
  restart(): void {
    this.stop();
    const { timeoutMs } = this.#request;
    if (Number.isFinite(timeoutMs)) {
      this.#timer = this.#clock.after(timeoutMs, () => this.#expiry.abort());
    }
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** Ends the request, if it still runs. */
  abort(): void {
    this.stop();
    this.#expiry.abort();
  }

  /** @returns what to throw for what `fetch` or the reading of the answer threw. */
  explain(error: unknown): unknown {
    if (error instanceof LegacyGpuError) return error;
    if (this.#callers?.aborted) return this.#callers.reason;
    const { name, timeoutMs, destination } = this.#request;
    if (!this.#expiry.signal.aborted) return networkFailure(error, destination);
    const { address } = destination;
    const message = `Nothing came from ${address} for ${timeoutMs} ms in answer to ${name}.`;
    return fail("timed_out", message, { address, timeout_ms: timeoutMs }, error);
  }
}
