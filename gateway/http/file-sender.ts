/** Sends a file as fast as the client reads it, holding at most one chunk of it in memory. */

import type { BodyHost, BodyProgress, BodySender } from "./body-sender.ts";
import type { FileBody } from "./exchange.ts";
import type { NativeResponse } from "./native.ts";

export class FileSender implements BodySender {
  readonly #native: NativeResponse;
  readonly #body: FileBody;
  /** The part of the last chunk that the socket did not take. */
  #rest: Buffer | undefined;
  #source: "open" | "ended" | "failed" = "open";
  #sentBytes = 0;

  constructor(native: NativeResponse, body: FileBody, host: BodyHost) {
    this.#native = native;
    this.#body = body;
    body.stream.on("readable", () => host.wake());
    body.stream.once("end", () => {
      this.#source = "ended";
      host.wake();
    });
    body.stream.once("error", () => {
      this.#source = "failed";
      host.wake();
    });
    native.onWritable(() => {
      host.wake();
      return true;
    });
  }

  /** Its length is known, so the head can always leave. */
  isReady(): boolean {
    return true;
  }

  pump(): BodyProgress {
    let progress: BodyProgress = "failed";
    this.#native.cork(() => {
      progress = this.#send();
    });
    return progress;
  }

  destroy(): void {
    this.#rest = undefined;
    this.#body.stream.destroy();
  }

  /** Must run corked. */
  #send(): BodyProgress {
    if (this.#body.sizeBytes === 0) {
      this.#native.end();
      return "sent";
    }
    for (let chunk = this.#take(); chunk !== undefined; chunk = this.#take()) {
      const progress = this.#offer(chunk);
      if (progress !== "taken") return progress;
    }
    // A file that ends before its announced size cannot be completed any more.
    return this.#source === "open" ? "waiting" : "failed";
  }

  #take(): Buffer | undefined {
    if (this.#rest !== undefined) return this.#rest;
    const chunk: unknown = this.#body.stream.read();
    return Buffer.isBuffer(chunk) ? chunk : undefined;
  }

  #offer(chunk: Buffer): "taken" | "waiting" | "sent" {
    const { sizeBytes } = this.#body;
    const [taken, complete] = this.#native.tryEnd(chunk.subarray(0, sizeBytes - this.#sentBytes), sizeBytes);
    if (complete) return "sent";
    if (taken) {
      this.#rest = undefined;
      this.#sentBytes += chunk.byteLength;
      return "taken";
    }
    const offset = this.#native.getWriteOffset();
    this.#rest = chunk.subarray(offset - this.#sentBytes);
    this.#sentBytes = offset;
    return "waiting";
  }
}
