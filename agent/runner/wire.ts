/**
 * What the agent and its runner process say to each other, and how: frames over one duplex pipe.
 *
 * A frame is a little-endian uint32 length and a msgpack array of messages; what is posted within one turn of the event loop shares a
 * frame. Both ends are ours and of one build, so messages are checked lightly.
 */

import type { Duplex } from "node:stream";
import { fail, type WireError } from "@legacygpu/shared/errors";
import type { Manifest } from "@legacygpu/shared/manifest";
import { decodeValue, FrameBuilder } from "@legacygpu/shared/protocol/codec";
import type { TaskInput, TaskOutput } from "@legacygpu/shared/protocol/messages";
import type { TestedProvider } from "./self-test.ts";

/** Where the time of one run went inside the runner. */
export interface RunTimings {
  readonly preprocessMs: number;
  /** Of tasks that ran as one: the time of that run. */
  readonly executeMs: number;
  readonly postprocessMs: number;
  /** Tasks that ran as one; absent: it ran alone. */
  readonly batchSize?: number | undefined;
}

/** Agent → runner. Those with a `seq` are answered, in order but for what a `batch` brings forward; `skip` withdraws one that has not begun. */
export type RunnerCommand =
  | {
      readonly type: "load";
      readonly seq: number;
      readonly modelKey: string;
      readonly path: string;
      readonly manifest: Manifest;
      /** Best first. */
      readonly providers: readonly string[];
      /** Those of them that are known to compute this model as they should. */
      readonly trusted?: readonly string[] | undefined;
      /** Whether want of memory on a GPU is an answer: then there may be more soon. Otherwise the next provider is taken. */
      readonly reportsMemory?: boolean | undefined;
      readonly threads: number;
      /** Rows in one run, at most, where that is fewer than the manifest says. */
      readonly maxRows?: number | undefined;
    }
  | { readonly type: "unload"; readonly modelKey: string }
  | {
      readonly type: "run";
      readonly seq: number;
      readonly modelKey: string;
      readonly input: TaskInput;
      readonly outputs?: readonly string[] | undefined;
    }
  | { readonly type: "skip"; readonly seq: number };

/** Runner → agent. */
export type RunnerReport =
  | { readonly type: "ready" }
  /** Of a load that is not answered yet: this provider is tried now. */
  | { readonly type: "trying"; readonly provider: string }
  | {
      readonly type: "loaded";
      readonly seq: number;
      readonly provider: string;
      /** Why better providers were passed over. */
      readonly passedOver: readonly string[];
      /** The self-tests that were made, of providers in this order. */
      readonly tests?: readonly TestedProvider[] | undefined;
      readonly loadMs: number;
      /** What of that was computing before the first task. */
      readonly warmUpMs?: number | undefined;
    }
  | {
      readonly type: "done";
      readonly seq: number;
      readonly output: TaskOutput;
      readonly timings: RunTimings;
      readonly provider: string;
    }
  | { readonly type: "failed"; readonly seq: number; readonly error: WireError }
  /** These are computed now, as one, and answered next, in this order. The first is the oldest that is not answered. */
  | { readonly type: "batch"; readonly seqs: readonly number[]; readonly rows: number }
  /** The model is run with so many rows at most from now on; 1: its tasks are not joined any more. */
  | {
      readonly type: "batch_limit";
      readonly modelKey: string;
      readonly maxRows: number;
      readonly reason: string;
    }
  | { readonly type: "stats"; readonly rssBytes: number };

const LENGTH_BYTES = 4;
/** A sane bound: a length above it means that the stream is out of step. */
const MAX_PIPE_FRAME_BYTES = 2 ** 30;

export interface PipeHandlers<Incoming> {
  onMessage(message: Incoming): void;
  /** The other end is gone, or speaks nonsense. */
  onClosed(error?: Error): void;
}

/** One end of the pipe. */
export class MessagePipe<Outgoing, Incoming extends { readonly type: string }> {
  readonly #stream: Duplex;
  readonly #handlers: PipeHandlers<Incoming>;
  readonly #builder = new FrameBuilder<Outgoing>(MAX_PIPE_FRAME_BYTES);
  readonly #reader = new FrameReader();
  #flushing: NodeJS.Immediate | undefined;

  constructor(stream: Duplex, handlers: PipeHandlers<Incoming>) {
    this.#stream = stream;
    this.#handlers = handlers;
    stream.on("data", (chunk: Buffer) => this.#onData(chunk));
    // Errors are always followed by `close`; a broken pipe is how a dead peer shows.
    stream.on("error", () => {});
    stream.on("close", () => handlers.onClosed());
  }

  /** Sends at the next {@link flush}. */
  hold(message: Outgoing): void {
    this.#builder.add(message);
  }

  /** Sends with whatever else is posted in this turn. */
  post(message: Outgoing): void {
    this.#builder.add(message);
    this.#flushing ??= setImmediate(() => this.flush());
  }

  /** Sends now what was posted. */
  flush(): void {
    if (this.#flushing !== undefined) clearImmediate(this.#flushing);
    this.#flushing = undefined;
    if (this.#stream.destroyed) return;
    this.#stream.cork();
    for (const frame of this.#builder.take()) {
      const length = Buffer.allocUnsafe(LENGTH_BYTES);
      length.writeUInt32LE(frame.length);
      this.#stream.write(length);
      this.#stream.write(frame);
    }
    this.#stream.uncork();
  }

  /** Resolves when everything that was flushed has left this process. */
  async drained(): Promise<void> {
    if (this.#stream.writableLength === 0 || this.#stream.destroyed) return;
    await new Promise<void>((resolve) => this.#stream.write(new Uint8Array(0), () => resolve()));
  }

  destroy(): void {
    if (this.#flushing !== undefined) clearImmediate(this.#flushing);
    this.#stream.destroy();
  }

  #onData(chunk: Buffer): void {
    try {
      this.#reader.push(chunk);
      for (let frame = this.#reader.next(); frame !== undefined; frame = this.#reader.next()) {
        for (const message of decodeMessages<Incoming>(frame)) this.#handlers.onMessage(message);
      }
    } catch (error) {
      this.#stream.destroy();
      this.#handlers.onClosed(error as Error);
    }
  }
}

function decodeMessages<Incoming extends { readonly type: string }>(frame: Uint8Array): Incoming[] {
  const values = decodeValue(frame);
  const isSound = Array.isArray(values) && values.every((value) => typeof value?.type === "string");
  if (!isSound) throw fail("internal", "A frame between agent and runner is malformed.");
  return values as Incoming[];
}

/** Cuts a stream of chunks into frames; each frame is joined at most once. */
class FrameReader {
  #chunks: Buffer[] = [];
  #bufferedBytes = 0;
  #frameBytes: number | undefined;

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bufferedBytes += chunk.length;
  }

  /** The next whole frame, or undefined until more has arrived. */
  next(): Uint8Array | undefined {
    if (this.#frameBytes === undefined) {
      if (this.#bufferedBytes < LENGTH_BYTES) return undefined;
      this.#frameBytes = this.#take(LENGTH_BYTES).readUInt32LE(0);
      if (this.#frameBytes > MAX_PIPE_FRAME_BYTES)
        throw fail("internal", "A frame between agent and runner is over the limit.");
    }
    if (this.#bufferedBytes < this.#frameBytes) return undefined;
    const frame = this.#take(this.#frameBytes);
    this.#frameBytes = undefined;
    return new Uint8Array(frame.buffer, frame.byteOffset, frame.length);
  }

  #take(length: number): Buffer {
    const first = this.#chunks[0];
    const all = first !== undefined && first.length >= length ? first : Buffer.concat(this.#chunks);
    const rest = all.subarray(length);
    if (all === first) this.#chunks.shift();
    else this.#chunks = [];
    if (rest.length > 0) this.#chunks.unshift(rest);
    this.#bufferedBytes -= length;
    return all.subarray(0, length);
  }
}
