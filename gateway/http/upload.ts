/**
 * The body of one request on its way in: how far it is, how large and how slow it may be, and who gets its bytes.
 *
 * As long as nobody knows whether it is wanted, it is held: what arrives is kept, and soon no more is read.
 */

import { fail } from "@legacygpu/shared/errors";
import type { BodyPolicy } from "./exchange.ts";
import type { NativeResponse } from "./native.ts";
import { announcedLength } from "./request.ts";
import { type BodySink, DISCARD, type Valve } from "./request-body.ts";

/** What a route without a body swallows before it refuses. */
const IGNORED_BODY_BYTES = 64 * 1024;

/** A held body is not read any further from here on. What one read of the network brought comes on top: at most 512 KiB. */
const HELD_BYTES = 64 * 1024;

/**
 * The average that a body must keep once the first grace is over; otherwise a client that sends a byte now and then could hold its
 * request for ever. Half of what the library demands within each ten seconds, so that this is only met where the library looks away.
 */
const MIN_BYTES_PER_MS = (8 * 1024) / 1000;

type Progress = "absent" | "arriving" | "paused" | "complete";

export class Upload implements Valve {
  readonly #native: NativeResponse;
  #progress: Progress = "absent";
  #limitBytes = 0;
  #receivedBytes = 0;
  #sink: BodySink = DISCARD;
  #held: ArrayBuffer[] | undefined;
  #beganAtMs: number | undefined;

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

  /** Nobody gets a byte before {@link release}. */
  hold(): void {
    this.#held = [];
  }

  /** Hands on what was held. @throws `body_too_large` */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    this.resume();
    this.#checkSize();
    for (const chunk of held) this.#sink.take(chunk);
    if (this.#progress === "complete") this.#sink.end();
  }

  /** Hands a chunk on. @throws `body_too_large` */
  deliver(chunk: ArrayBuffer, isLast: boolean): void {
    if (this.#held !== undefined) {
      this.#keep(chunk, this.#held);
    } else {
      this.#checkSize();
      this.#sink.take(chunk);
      if (isLast) this.#sink.end();
    }
  }

  /** Whether it has come fast enough since this was first asked. Pauses of ours begin where so much has come that they make no difference. */
  keepsPace(graceMs: number): boolean {
    const nowMs = performance.now();
    this.#beganAtMs ??= nowMs;
    return nowMs - this.#beganAtMs <= graceMs + this.#receivedBytes / MIN_BYTES_PER_MS;
  }

  /** Nobody wants the rest; it is still read, so that the client can be answered. */
  abandon(reason: () => Error): void {
    this.#held = undefined;
    if (!this.isUnfinished) return;
    this.resume();
    this.#sink.fail(reason());
  }

  /** The connection is gone: `native` may not be touched any more. */
  lost(): void {
    this.#held = undefined;
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

  #keep(chunk: ArrayBuffer, held: ArrayBuffer[]): void {
    held.push(chunk.slice(0));
    if (this.#receivedBytes > HELD_BYTES) this.pause();
  }

  #checkSize(): void {
    if (this.#receivedBytes > this.#limitBytes) throw this.#tooLarge();
  }

  #tooLarge(): Error {
    const limitBytes = this.#limitBytes;
    return fail("body_too_large", `The request body is over the limit of ${limitBytes} bytes.`, {
      limitBytes,
    });
  }
}
