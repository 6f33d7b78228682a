/** Outputs that an agent has sent over HTTPS, waiting for the `result` message that belongs to them. */

import { fail } from "@legacygpu/shared/errors";
import type { TaskOutput } from "@legacygpu/shared/protocol/messages";

/** Outputs whose `result` never came are dropped, oldest first, beyond this. */
const MAX_WAITING = 1024;

export class AttemptOutputs {
  readonly #outputs = new Map<number, TaskOutput>();

  put(token: number, output: TaskOutput): void {
    this.#outputs.set(token, output);
    const [oldest] = this.#outputs.keys();
    if (this.#outputs.size > MAX_WAITING && oldest !== undefined) this.#outputs.delete(oldest);
  }

  /** @throws `transfer_failed` when there is none. */
  take(token: number): TaskOutput {
    const output = this.#outputs.get(token);
    if (output === undefined) throw fail("transfer_failed", "The result's payload did not arrive.");
    this.#outputs.delete(token);
    return output;
  }
}
