/**
 * Server-sent events (the `text/event-stream` of the HTML standard) as the body of a response.
 *
 * A generator would not do: the end has to reach the source while it is being waited for, and a wait has to be cut short for a ping
 * without asking the source again.
 */

import type { Clock, Timer } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { stringifyExactly } from "../tasks/exact-json.ts";
import type { Response } from "./exchange.ts";

export interface ServerSentEvent {
  /** What a client that reconnects sends as `Last-Event-ID`. Without line breaks. */
  readonly id?: string;
  /** Without line breaks. */
  readonly event: string;
  /** Anything that JSON can say. */
  readonly data: unknown;
}

export interface EventStreamOptions {
  readonly clock: Clock;
  /** Silence after which a comment is sent, so that proxies keep the connection. Default 15 s. */
  readonly pingMs?: number;
  /** How long a browser waits before it reconnects; without it, the browser decides. */
  readonly retryMs?: number;
}

const PING_MS = 15_000;
const PING = ": ping\n\n";

const HEADERS = {
  "content-type": "text/event-stream",
  "cache-control": "no-store",
  // Asks nginx not to collect the events.
  "x-accel-buffering": "no",
};

/** A response whose events come from `events`, with a comment `: ping` whenever nothing was sent for `pingMs`. */
export function eventStream(events: AsyncIterable<ServerSentEvent>, options: EventStreamOptions): Response {
  const chunks = { [Symbol.asyncIterator]: () => new EventChunks(events[Symbol.asyncIterator](), options) };
  return { status: 200, headers: HEADERS, body: { chunks, whenClosing: "end" } };
}

type Chunk = IteratorResult<string, undefined>;

interface Waiter {
  readonly resolve: (chunk: Chunk) => void;
  readonly reject: (error: unknown) => void;
  readonly ping: Timer;
}

const END: Chunk = { done: true, value: undefined };

/**
 * | state     | what holds                                                       | leaves by                     |
 * | --------- | ---------------------------------------------------------------- | ----------------------------- |
 * | `opening` | nothing was said yet                                             | the first `next()`            |
 * | `resting` | the source has not been asked since its last answer was passed on | `next()`                     |
 * | `asking`  | the source was asked, once, however many pings go out meanwhile  | its answer                    |
 * | `arrived` | its answer (an event, its end or an error) waits to be passed on | `next()`, or at once          |
 * | `over`    | nobody wants more; what the source still says is dropped         | never                         |
 */
class EventChunks implements AsyncIterator<string, undefined> {
  readonly #source: AsyncIterator<ServerSentEvent>;
  readonly #options: EventStreamOptions;
  #state: "opening" | "resting" | "asking" | "arrived" | "over" = "opening";
  #answer: ((waiter: Waiter) => void) | undefined;
  #waiter: Waiter | undefined;

  constructor(source: AsyncIterator<ServerSentEvent>, options: EventStreamOptions) {
    this.#source = source;
    this.#options = options;
  }

  next(): Promise<Chunk> {
    if (this.#state === "over") return Promise.resolve(END);
    if (this.#state === "opening") return Promise.resolve(this.#open());
    return new Promise((resolve, reject) => {
      const { clock, pingMs } = this.#options;
      const ping = clock.after(pingMs ?? PING_MS, () => this.#takeWaiter()?.resolve(chunk(PING)));
      this.#waiter = { resolve, reject, ping };
      if (this.#state === "resting") void this.#ask();
      else if (this.#state === "arrived") this.#passOn();
    });
  }

  async return(): Promise<Chunk> {
    this.#state = "over";
    this.#answer = undefined;
    this.#takeWaiter()?.resolve(END);
    await this.#source.return?.();
    return END;
  }

  /** The head of the response leaves with the first chunk, and it is not to wait for the first event. */
  #open(): Chunk {
    this.#state = "resting";
    const { retryMs } = this.#options;
    return chunk(retryMs === undefined ? ": open\n\n" : `retry: ${retryMs}\n\n`);
  }

  async #ask(): Promise<void> {
    this.#state = "asking";
    try {
      const { done, value } = await this.#source.next();
      const answer = done === true ? END : chunk(frame(value));
      this.#arrive((waiter) => waiter.resolve(answer));
    } catch (error) {
      this.#arrive((waiter) => waiter.reject(error));
    }
  }

  #arrive(answer: (waiter: Waiter) => void): void {
    if (this.#state === "over") return;
    this.#state = "arrived";
    this.#answer = answer;
    this.#passOn();
  }

  #passOn(): void {
    const waiter = this.#takeWaiter();
    if (waiter === undefined) return;
    this.#state = "resting";
    this.#answer?.(waiter);
    this.#answer = undefined;
  }

  #takeWaiter(): Waiter | undefined {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.ping.cancel();
    return waiter;
  }
}

const chunk = (value: string): Chunk => ({ done: false, value });

/** JSON has no line breaks, so the data are one line. */
function frame({ id, event, data }: ServerSentEvent): string {
  const idLine = id === undefined ? "" : `id: ${asLine(id)}\n`;
  return `${idLine}event: ${asLine(event)}\ndata: ${stringifyExactly(data ?? null)}\n\n`;
}

function asLine(text: string): string {
  if (!/[\r\n\0]/.test(text)) return text;
  throw fail(
    "internal",
    `${JSON.stringify(text)} cannot be the id or the name of an event: it has a line break.`,
  );
}
