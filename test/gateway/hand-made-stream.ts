/** Streams of which a test makes every chunk by hand, and servers that answer with them. */

import type { TestContext } from "node:test";
import type { Request, Response, StreamBody } from "../../gateway/http/exchange.ts";
import { type Gateway, route, startGateway, until } from "./http-server-fixture.ts";

export const GET = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

export type Chunk = string | Uint8Array;

/** What a test makes by hand, value after value, and what was asked of it. */
export class HandMade<Value> implements AsyncIterable<Value>, AsyncIterator<Value> {
  asked = 0;
  returns = 0;
  #made: (() => Promise<IteratorResult<Value>>)[] = [];
  #waiting: ((result: Promise<IteratorResult<Value>>) => void) | undefined;

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Value>> {
    this.asked += 1;
    const made = this.#made.shift();
    if (made !== undefined) return made();
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  async return(): Promise<IteratorResult<Value>> {
    this.returns += 1;
    return { done: true, value: undefined };
  }

  make(...values: Value[]): void {
    for (const value of values) this.#settle(async () => ({ done: false, value }));
  }

  end(): void {
    this.#settle(async () => ({ done: true, value: undefined }));
  }

  break(error: Error): void {
    this.#settle(() => Promise.reject(error));
  }

  #settle(result: () => Promise<IteratorResult<Value>>): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.#made.push(result);
    else waiting(result());
  }
}

export type Source = HandMade<Chunk>;

/** A response whose body is made by hand. */
export const streaming = (chunks: AsyncIterable<Chunk>, whenClosing?: "end"): Response => {
  const body: StreamBody = whenClosing === undefined ? { chunks } : { chunks, whenClosing };
  return { status: 200, headers: { "content-type": "text/plain" }, body };
};

/** A gateway that answers every request to `/` with a source of its own. */
export async function startWithSources(t: TestContext, closing?: "end") {
  const sources: Source[] = [];
  const requests: Request[] = [];
  const handle = (asked: Request): Response => {
    const source = new HandMade<Chunk>();
    sources.push(source);
    requests.push(asked);
    return streaming(source, closing);
  };
  const gateway = await startGateway(t, { routes: [route({ handle }), route({ pattern: "/whole" })] });
  const sourceAt = async (index: number): Promise<Source> => {
    await until(() => sources[index] !== undefined, `request ${index}`);
    return sources[index] as Source;
  };
  return { gateway, sources, requests, sourceAt };
}

/** A gateway with one stream at `/`, made anew for each request. */
export const startWith = (t: TestContext, chunks: () => AsyncIterable<Chunk>): Promise<Gateway> =>
  startGateway(t, { routes: [route({ handle: () => streaming(chunks()) })] });

/** Until the number has not changed for a while: nothing is asked for any more. */
export async function untilStill(read: () => number): Promise<void> {
  let seen = read();
  let stillFor = 0;
  await until(() => {
    const now = read();
    stillFor = now === seen && now > 0 ? stillFor + 1 : 0;
    seen = now;
    return stillFor > 20;
  }, "the source to be left alone");
}
