/** Where the bytes of a request body go: thrown away, gathered, or handed on as they arrive. */

import { fail } from "@legacygpu/shared/errors";
import type { BodyPolicy, Request } from "./exchange.ts";

export interface BodySink {
  /** `chunk` is only readable during the call. */
  take(chunk: ArrayBuffer): void;
  end(): void;
  /** No more will come: the client is gone, or the request was refused. */
  fail(error: Error): void;
}

export const DISCARD: BodySink = { take() {}, end() {}, fail() {} };

const copyOf = (chunk: ArrayBuffer): Buffer => Buffer.from(new Uint8Array(chunk));

/** Gathers the body into one buffer; a body that came in one chunk is copied once. */
export class BodyCollector implements BodySink {
  readonly #chunks: Buffer[] = [];
  readonly #complete: (body: Buffer) => void;

  constructor(complete: (body: Buffer) => void) {
    this.#complete = complete;
  }

  take(chunk: ArrayBuffer): void {
    this.#chunks.push(copyOf(chunk));
  }

  end(): void {
    const [only] = this.#chunks;
    this.#complete(this.#chunks.length === 1 && only !== undefined ? only : Buffer.concat(this.#chunks));
  }

  fail(): void {
    this.#chunks.length = 0;
  }
}

/** Pauses and resumes the reading of one connection. */
export interface Valve {
  pause(): void;
  resume(): void;
}

/** More than this waiting for the reader: stop reading from the network. */
const PAUSE_BYTES = 256 * 1024;
const RESUME_BYTES = 64 * 1024;

type StreamEnd = "open" | "complete" | "abandoned" | Error;

/**
 * The body as an async iterable with backpressure, for one reader.
 *
 * A reader that stops early abandons the rest: it is read and thrown away, so that the answer can still be delivered.
 */
export class BodyStream implements BodySink, AsyncIterable<Buffer> {
  readonly #valve: Valve;
  #chunks: Buffer[] = [];
  #waitingBytes = 0;
  #end: StreamEnd = "open";
  #wakeReader: (() => void) | undefined;

  constructor(valve: Valve) {
    this.#valve = valve;
  }

  take(chunk: ArrayBuffer): void {
    if (this.#end !== "open" || chunk.byteLength === 0) return;
    this.#chunks.push(copyOf(chunk));
    this.#waitingBytes += chunk.byteLength;
    if (this.#waitingBytes > PAUSE_BYTES) this.#valve.pause();
    this.#wake();
  }

  end(): void {
    if (this.#end === "open") this.#end = "complete";
    this.#wake();
  }

  fail(error: Error): void {
    if (this.#end === "open") this.#end = error;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    try {
      for (let chunk = await this.#next(); chunk !== undefined; chunk = await this.#next()) yield chunk;
    } finally {
      this.#abandon();
    }
  }

  /** A failure is thrown at once: what waits before it would be half a body anyway. */
  async #next(): Promise<Buffer | undefined> {
    while (this.#chunks.length === 0 && this.#end === "open") {
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
    }
    if (this.#end === "abandoned") throw fail("transfer_failed", "The body was read twice.");
    if (this.#end instanceof Error) throw this.#end;
    return this.#shift();
  }

  #shift(): Buffer | undefined {
    const chunk = this.#chunks.shift();
    if (chunk === undefined) return undefined;
    this.#waitingBytes -= chunk.byteLength;
    if (this.#waitingBytes <= RESUME_BYTES) this.#valve.resume();
    return chunk;
  }

  #abandon(): void {
    this.#chunks = [];
    this.#waitingBytes = 0;
    if (this.#end === "open") this.#end = "abandoned";
    this.#valve.resume();
  }

  #wake(): void {
    this.#wakeReader?.();
    this.#wakeReader = undefined;
  }
}

type Bodies = { -readonly [Field in "body" | "stream"]: Request[Field] };

/** Where the body of `request` goes; `complete` is called at its end, unless it is a stream. */
export function sinkFor(policy: BodyPolicy, request: Bodies, valve: Valve, complete: () => void): BodySink {
  if (policy.kind === "stream") {
    const stream = new BodyStream(valve);
    request.stream = stream;
    return stream;
  }
  if (policy.kind === "none") return { ...DISCARD, end: complete };
  return new BodyCollector((body) => {
    request.body = body;
    complete();
  });
}
