/** The body of one request on its way in: how far it is, how large it may become, and who gets its bytes. */

import { fail } from "@legacygpu/shared/errors";
import type { BodyPolicy } from "./exchange.ts";
import type { NativeResponse } from "./native.ts";
import { announcedLength } from "./request.ts";
import { type BodySink, DISCARD, type Valve } from "./request-body.ts";

/** What a route without a body swallows before it refuses. */
const IGNORED_BODY_BYTES = 64 * 1024;

type Progress = "absent" | "arriving" | "paused" | "complete";

export class Upload implements Valve {
  readonly #native: NativeResponse;
  #progress: Progress = "absent";
  #limitBytes = 0;
  #receivedBytes = 0;
  #sink: BodySink = DISCARD;

  constructor(native: NativeResponse) {
    this.#native = native;
  }

  get isUnfinished(): boolean {
    return this.#progress === "arriving" || this.#progress === "paused";
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** Announced length of the body; `arrived` is told of each chunk. @throws `request_malformed` */
  expect(
    headers: ReadonlyMap<string, string>,
    arrived: (chunk: ArrayBuffer, isLast: boolean) => void,
  ): number | "chunked" {
    if (headers.has("content-length") || headers.has("transfer-encoding")) {
      this.#progress = "arriving";
      this.#native.onData((chunk, isLast) => {
        this.#count(chunk, isLast);
        arrived(chunk, isLast);
      });
    }
    return announcedLength(headers);
  }

  /** @throws `body_too_large` when it was announced to be. */
  limit(policy: BodyPolicy, announced: number | "chunked"): void {
    this.#limitBytes = policy.kind === "none" ? IGNORED_BODY_BYTES : policy.limitBytes;
    if (announced !== "chunked" && announced > this.#limitBytes) throw this.#tooLarge();
  }

  directTo(sink: BodySink): void {
    this.#sink = sink;
  }

  /** Hands a chunk on. @throws `body_too_large` */
  deliver(chunk: ArrayBuffer, isLast: boolean): void {
    if (this.#receivedBytes > this.#limitBytes) throw this.#tooLarge();
    this.#sink.take(chunk);
    if (isLast) this.#sink.end();
  }

  /** Nobody wants the rest; it is still read, so that the client can be answered. */
  abandon(reason: () => Error): void {
    if (!this.isUnfinished) return;
    this.resume();
    this.#sink.fail(reason());
  }

  /** The connection is gone: `native` may not be touched any more. */
  lost(): void {
    if (!this.isUnfinished) return;
    this.#progress = "complete";
    this.#sink.fail(fail("transfer_failed", "The client hung up before its body was complete."));
  }

  pause(): void {
    if (this.#progress !== "arriving") return;
    this.#progress = "paused";
    this.#native.pause();
  }

  /** Never without a pause before it, and always before writing: the library would stop polling the connection. */
  resume(): void {
    if (this.#progress !== "paused") return;
    this.#progress = "arriving";
    this.#native.resume();
  }

  #count(chunk: ArrayBuffer, isLast: boolean): void {
    this.#receivedBytes += chunk.byteLength;
    if (!isLast) return;
    // What was read before the pause is delivered in spite of it.
    this.resume();
    this.#progress = "complete";
  }

  #tooLarge(): Error {
    const limitBytes = this.#limitBytes;
    return fail("body_too_large", `The request body is over the limit of ${limitBytes} bytes.`, {
      limitBytes,
    });
  }
}
