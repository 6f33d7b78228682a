/**
 * Sends a body that is made while it is sent, as fast as the client reads it.
 *
 * Where the chunks come from:
 *
 * | source      | what holds                                                         | leaves by                    |
 * | ----------- | ------------------------------------------------------------------ | ---------------------------- |
 * | `idle`      | enough is waiting to be sent: the iterator is left alone           | room after a write           |
 * | `pulling`   | one `next()` is pending                                            | enough, its end, an error    |
 * | `ended`     | there are no more chunks; those that wait are still sent           | never                        |
 * | `failed`    | it threw; what waits is still sent, then the pump throws           | never                        |
 * | `abandoned` | nobody wants the rest; a chunk that still arrives is dropped       | never                        |
 *
 * `finish()` leads from the first two to `ended`, `destroy()` to `abandoned`. In both cases and after an error the iterator's
 * `return()` is called, once.
 *
 * Where they go:
 *
 * | flow      | what holds                                                                | leaves by                 |
 * | --------- | ------------------------------------------------------------------------- | ------------------------- |
 * | `clear`   | the library passed on what it was given, as far as we know                | a piece that it kept      |
 * | `full`    | it keeps what the socket did not take: nothing is written                 | room in the socket        |
 * | `probing` | there is room, perhaps not for all that is kept: the next piece is small  | what becomes of the piece |
 * | `forced`  | the server is closing: what waits is written, whoever keeps it            | never                     |
 *
 * The library only tells that it kept something, never how much. Without the small piece each bit of room would add a large one
 * to what it keeps, and a slow client could fill the memory.
 */

import type { BodyHost, BodyProgress, BodySender } from "./body-sender.ts";
import { ChunkQueue } from "./chunk-queue.ts";
import type { EndlessStreams } from "./endless-streams.ts";
import type { StreamBody } from "./exchange.ts";
import type { NativeResponse } from "./native.ts";

/** From here on no further chunk is asked for. */
const ENOUGH_BYTES = 64 * 1024;
/** Chunks cost more than their bytes. */
const ENOUGH_CHUNKS = 1024;

/**
 * One piece per cork, and with its framing it has to fit the library's cork buffer of 16 KiB: a piece that does not is lost when
 * the socket does not even take its framing.
 */
const PIECE_BYTES = 15 * 1024;

/** Less than a socket takes between full and reporting room. */
const PROBE_BYTES = 512;

export class StreamSender implements BodySender {
  readonly #native: NativeResponse;
  readonly #body: StreamBody;
  readonly #host: BodyHost;
  readonly #endless: EndlessStreams;
  readonly #queue = new ChunkQueue();
  #iterator: AsyncIterator<string | Uint8Array> | undefined;
  #source: "idle" | "pulling" | "ended" | "failed" | "abandoned" = "idle";
  #flow: "clear" | "full" | "probing" | "forced" = "clear";
  #error: unknown;

  /** Asks for the first chunk at once, so that it can leave together with the head. */
  constructor(native: NativeResponse, body: StreamBody, host: BodyHost, endless: EndlessStreams) {
    this.#native = native;
    this.#body = body;
    this.#host = host;
    this.#endless = endless;
    native.onWritable(() => {
      if (this.#flow !== "forced") this.#flow = "probing";
      host.wake();
      return true;
    });
    void this.#pull();
    if (body.whenClosing === "end") endless.add(this);
  }

  isReady(): boolean {
    if (this.#queue.count === 0 && this.#source === "failed") throw this.#error;
    return this.#queue.count > 0 || this.#source === "ended";
  }

  pump(): BodyProgress {
    while (this.#flow !== "full") {
      if (this.#writePiece() === "last") return "sent";
      if (this.#queue.count === 0) break;
    }
    if (this.#queue.count === 0 && this.#source === "failed") throw this.#error;
    if (this.#source === "idle") void this.#pull();
    return "waiting";
  }

  /** The server is closing, and this is where the stream ends. */
  finish(): void {
    this.#flow = "forced";
    this.#stop("ended");
    this.#host.wake();
  }

  destroy(): void {
    this.#endless.delete(this);
    this.#queue.clear();
    this.#stop("abandoned");
  }

  /** Without a chunk it still makes the library pass on what it keeps: that only happens when it is written to. */
  #writePiece(): "last" | "written" {
    const piece = this.#queue.take(this.#flow === "probing" ? PROBE_BYTES : PIECE_BYTES);
    const isLast = this.#source === "ended" && this.#queue.count === 0;
    this.#native.cork(() => {
      // Never with the flag to close: it would write a header into the body.
      if (isLast) this.#native.end(piece);
      else if (piece.byteLength > 0) this.#noteFlow(this.#native.write(piece));
    });
    return isLast ? "last" : "written";
  }

  #noteFlow(isPassedOn: boolean): void {
    if (this.#flow !== "forced") this.#flow = isPassedOn ? "clear" : "full";
  }

  async #pull(): Promise<void> {
    this.#source = "pulling";
    try {
      this.#iterator ??= this.#body.chunks[Symbol.asyncIterator]();
      while (this.#hasRoom()) {
        const { done, value } = await this.#iterator.next();
        if (!this.#isPulling()) return;
        if (done === true) return this.#end();
        this.#queue.push(value);
        this.#host.wake();
      }
      this.#source = "idle";
    } catch (error) {
      this.#fail(error);
    }
  }

  #hasRoom(): boolean {
    return this.#queue.sizeBytes < ENOUGH_BYTES && this.#queue.count < ENOUGH_CHUNKS;
  }

  /** The state as it is now; the compiler would go on believing what was assigned before a wait. */
  #isPulling(): boolean {
    return this.#source === "pulling";
  }

  #end(): void {
    this.#source = "ended";
    this.#host.wake();
  }

  #fail(error: unknown): void {
    if (!this.#isPulling()) return;
    this.#error = error;
    this.#stop("failed");
    this.#host.wake();
  }

  #stop(source: "ended" | "failed" | "abandoned"): void {
    if (this.#source !== "idle" && this.#source !== "pulling") return;
    this.#source = source;
    void this.#giveBack();
  }

  /** A generator that is waiting for something only notices when its wait is over. */
  async #giveBack(): Promise<void> {
    try {
      await this.#iterator?.return?.();
    } catch (error) {
      this.#host.onFault(error);
    }
  }
}
