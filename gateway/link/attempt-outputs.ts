/** Outputs that an agent has sent over HTTPS, waiting for the `result` message that belongs to them. */

import { fail } from "@legacygpu/shared/errors";
import type { TaskOutput } from "@legacygpu/shared/protocol/messages";

/** Outputs whose `result` never came are dropped, oldest first, beyond this number, or this size together. */
const MAX_WAITING = 1024;
const MAX_WAITING_BYTES = 1024 ** 3;

interface Waiting {
  readonly output: TaskOutput;
  readonly sizeBytes: number;
}

export class AttemptOutputs {
  readonly #outputs = new Map<number, Waiting>();
  #waitingBytes = 0;

  /** @param sizeBytes that it holds on to */
  put(token: number, output: TaskOutput, sizeBytes: number): void {
    this.#remove(token);
    this.#outputs.set(token, { output, sizeBytes });
    this.#waitingBytes += sizeBytes;
    for (const oldest of this.#outputs.keys()) {
      const isOver = this.#outputs.size > MAX_WAITING || this.#waitingBytes > MAX_WAITING_BYTES;
      if (!isOver || oldest === token) break;
      this.#remove(oldest);
    }
  }

  /** @throws `transfer_failed` when there is none. */
  take(token: number): TaskOutput {
    const waiting = this.#outputs.get(token);
    if (waiting === undefined) throw fail("transfer_failed", "The result's payload did not arrive.");
    this.#remove(token);
    return waiting.output;
  }

  #remove(token: number): void {
    this.#waitingBytes -= this.#outputs.get(token)?.sizeBytes ?? 0;
    this.#outputs.delete(token);
  }
}
