/** A streamed answer that stops when the credential that asked for it ends: a stolen key must not go on reading. */

import { fail } from "@legacygpu/shared/errors";
import type { StreamBody } from "./exchange.ts";

type Chunk = IteratorResult<string | Uint8Array>;
const END: Chunk = { done: true, value: undefined };

/**
 * @param whenEnded calls its listener once, when the credential has ended; answers how to stop listening.
 * @returns the same body. One that never ends by itself is ended, another one is cut, so that nobody takes it for complete.
 */
export function revocable(body: StreamBody, whenEnded: (listener: () => void) => () => void): StreamBody {
  const isEndless = body.whenClosing === "end";
  const chunks = {
    [Symbol.asyncIterator]: () =>
      new RevocableChunks(body.chunks[Symbol.asyncIterator](), isEndless, whenEnded),
  };
  return { ...body, chunks };
}

interface Waiter {
  readonly resolve: (chunk: Chunk) => void;
  readonly reject: (error: unknown) => void;
}

/** `open`: as its source. `ended`: the credential is gone; whoever waits, and whoever comes, is told so. */
class RevocableChunks implements AsyncIterator<string | Uint8Array> {
  readonly #source: AsyncIterator<string | Uint8Array>;
  readonly #isEndless: boolean;
  readonly #stopListening: () => void;
  #state: "open" | "ended" = "open";
  #waiter: Waiter | undefined;

  constructor(
    source: AsyncIterator<string | Uint8Array>,
    isEndless: boolean,
    whenEnded: (listener: () => void) => () => void,
  ) {
    this.#source = source;
    this.#isEndless = isEndless;
    this.#stopListening = whenEnded(() => this.#end());
  }

  next(): Promise<Chunk> {
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      if (this.#state === "ended") this.#tell();
      else this.#source.next().then((chunk) => this.#pass(chunk), reject);
    });
  }

  async return(): Promise<Chunk> {
    this.#stopListening();
    await this.#source.return?.();
    return END;
  }

  #pass(chunk: Chunk): void {
    if (chunk.done === true) this.#stopListening();
    this.#waiter?.resolve(chunk);
  }

  #end(): void {
    this.#state = "ended";
    this.#tell();
    // It may be in the middle of a wait that no longer matters.
    void this.#source.return?.();
  }

  #tell(): void {
    if (this.#isEndless) this.#waiter?.resolve(END);
    else this.#waiter?.reject(fail("auth_invalid"));
  }
}
