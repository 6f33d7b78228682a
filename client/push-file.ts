/** Sends a model's file to the gateway by its digest, through breaks of the network: each try goes on where the one before broke off. */

import { type BlobUploadJson, blobUploadJsonSchema } from "@legacygpu/shared/api/models";
import { type Clock, every, type Timer } from "@legacygpu/shared/clock";
import { fail, LegacyGpuError } from "@legacygpu/shared/errors";
import { Patience, type WaitTools } from "./patience.ts";
import type { Call, Transport } from "./transport.ts";

/** A file that is too large to hold: read once for the digest, and from where it is needed for each try to send it. */
export interface ModelFile {
  /** `sha256:` and 64 hexadecimal digits. */
  readonly digest: string;
  readonly sizeBytes: number;
  /** From this byte to the end. */
  open(offsetBytes: number): ReadableStream<Uint8Array>;
}

/** One that is in memory. */
export interface HeldFile extends Omit<ModelFile, "open"> {
  readonly bytes: Uint8Array;
}

export interface PushProgress {
  /** On their way or there; fewer than before when something was lost on the way. */
  readonly sentBytes: number;
  readonly totalBytes: number;
}

export interface PushFileOptions {
  readonly onProgress?: ((progress: PushProgress) => void) | undefined;
  /** Called for each failure that is bridged by going on. */
  readonly onTrouble?: ((error: LegacyGpuError) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface PushFileTools extends WaitTools {
  readonly transport: Transport;
}

/** To ask first where to begin costs more than to send so little. */
const SMALL_BYTES = 1024 ** 2;
/** Of a file in memory, in one request: its bytes cannot be seen going, so that each request has a time limit by its size. */
const HELD_PART_BYTES = 8 * 1024 ** 2;
/** A connection that takes nothing for so long is given up, whatever the system thinks of it. */
const STALL_MS = 60_000;
/** After the last byte, for the gateway to check the whole. */
const ANSWER_MS = 180_000;

/**
 * @throws `digest_mismatch` when the file is not what its digest says; `body_too_large`, `store_full`; what the network makes fail, after a
 * minute in which no byte got through; `signal.reason`
 */
export async function pushFile(
  file: ModelFile | HeldFile,
  options: PushFileOptions,
  tools: PushFileTools,
): Promise<void> {
  await new Pushing(file, options, tools).complete();
}

class Pushing {
  readonly #file: ModelFile | HeldFile;
  readonly #options: PushFileOptions;
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #patience: Patience;
  /** Confirmed by the gateway. */
  #receivedBytes = 0;
  #hasBegunAnew = false;
  /** Undefined: where to go on must be asked. */
  #standing: BlobUploadJson | undefined;

  constructor(file: ModelFile | HeldFile, options: PushFileOptions, tools: PushFileTools) {
    this.#file = file;
    this.#options = options;
    this.#transport = tools.transport;
    this.#clock = tools.clock;
    this.#patience = new Patience(tools, options.onTrouble);
    const { digest, sizeBytes } = file;
    if (sizeBytes <= SMALL_BYTES) this.#standing = { digest, offset: 0, complete: false };
  }

  async complete(): Promise<void> {
    while (!this.#standing?.complete) {
      try {
        this.#standing = this.#standing === undefined ? await this.#ask() : await this.#put();
        this.#note(this.#standing.offset);
      } catch (error) {
        this.#standing = undefined;
        await this.#bear(error);
      }
    }
    this.#tell(this.#file.sizeBytes);
  }

  #ask(): Promise<BlobUploadJson> {
    const call = { method: "GET", path: `/blobs/${this.#file.digest}/upload`, maxTries: 1 } as const;
    return this.#transport.request(call, blobUploadJsonSchema, this.#options.signal);
  }

  #put(): Promise<BlobUploadJson> {
    const { sizeBytes } = this.#file;
    const call = {
      method: "PUT",
      path: `/blobs/${this.#file.digest}`,
      query: { offset: this.#receivedBytes, bytes: sizeBytes },
      // Some of it may have arrived: it must not be sent again as it is.
      maxTries: 1,
    } as const;
    return "bytes" in this.#file ? this.#putHeld(call, this.#file) : this.#putStream(call, this.#file);
  }

  #putHeld(call: Call, { bytes }: HeldFile): Promise<BlobUploadJson> {
    const part = bytes.subarray(this.#receivedBytes, this.#receivedBytes + HELD_PART_BYTES);
    const raw = { ...OCTETS, sizeBytes: part.byteLength, open: () => part };
    return this.#transport.request({ ...call, raw }, blobUploadJsonSchema, this.#options.signal);
  }

  async #putStream(call: Call, file: ModelFile): Promise<BlobUploadJson> {
    const offset = this.#receivedBytes;
    const watch = new StallWatch(this.#clock, this.#options.signal);
    let sentBytes = offset;
    const counting = (): TransformStream<Uint8Array, Uint8Array> => {
      sentBytes = offset;
      return new TransformStream({
        transform: (chunk, controller) => {
          sentBytes += chunk.byteLength;
          watch.restart(sentBytes < file.sizeBytes ? STALL_MS : ANSWER_MS);
          this.#tell(sentBytes);
          controller.enqueue(chunk);
        },
      });
    };
    // A refused token makes a second request of it.
    const open = (): ReadableStream<Uint8Array> => file.open(offset).pipeThrough(counting());
    const raw = { ...OCTETS, sizeBytes: Math.max(0, file.sizeBytes - offset), open };
    const unlimited = { ...call, raw, timeoutMs: Number.POSITIVE_INFINITY };
    try {
      return await this.#transport.request(unlimited, blobUploadJsonSchema, watch.signal);
    } finally {
      watch.stop();
    }
  }

  #note(receivedBytes: number): void {
    if (receivedBytes > this.#receivedBytes) this.#patience.refresh();
    this.#receivedBytes = receivedBytes;
    this.#tell(receivedBytes);
  }

  #tell(sentBytes: number): void {
    this.#options.onProgress?.({ sentBytes, totalBytes: this.#file.sizeBytes });
  }

  async #bear(error: unknown): Promise<void> {
    const { signal } = this.#options;
    const { code, details } = error instanceof LegacyGpuError ? error : fail("unknown");
    const sentFrom = this.#receivedBytes;
    if (code === "digest_mismatch" && sentFrom > 0 && !this.#hasBegunAnew) {
      // What was there before came from somebody else, or from before a crash. The gateway has thrown it away.
      this.#hasBegunAnew = true;
    } else if (code !== "upload_offset_wrong") {
      await this.#patience.waitOut(error, signal);
    } else if (details.offset === sentFrom) {
      const message = "The gateway is still receiving a piece of which nothing more comes.";
      await this.#patience.waitOut(fail("timed_out", message, {}, error), signal);
    }
  }
}

const OCTETS = { contentType: "application/octet-stream" } as const;

/** Aborts a request of which no byte moves any more. */
class StallWatch {
  readonly #clock: Clock;
  readonly #outer: AbortSignal | undefined;
  readonly #abort = new AbortController();
  readonly #timer: Timer;
  #dueAtMs: number;

  constructor(clock: Clock, outer: AbortSignal | undefined) {
    this.#clock = clock;
    this.#outer = outer;
    this.#dueAtMs = clock.monotonic() + STALL_MS;
    // Each chunk moves the time; a timer for each would cost more than the chunk.
    this.#timer = every(clock, STALL_MS / 10, () => this.#look());
    outer?.addEventListener("abort", this.#passOn, { once: true });
    if (outer?.aborted) this.#passOn();
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  restart(ms: number): void {
    this.#dueAtMs = this.#clock.monotonic() + ms;
  }

  stop(): void {
    this.#timer.cancel();
    this.#outer?.removeEventListener("abort", this.#passOn);
  }

  readonly #passOn = (): void => this.#abort.abort(this.#outer?.reason);

  #look(): void {
    if (this.#clock.monotonic() < this.#dueAtMs) return;
    this.#abort.abort(fail("timed_out", "The connection has taken no byte of the file for a while."));
  }
}
