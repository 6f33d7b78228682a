/**
 * What a process has started, closed in reverse order.
 *
 * Every closer runs even when an earlier one failed; the failures are reported together. `close()` is idempotent: later
 * calls get the first call's promise.
 */

import type { Logger } from "./log.ts";

interface Part {
  readonly name: string;
  readonly close: () => Promise<void> | void;
}

export class Lifecycle {
  readonly #log: Logger;
  readonly #parts: Part[] = [];
  #closing: Promise<void> | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Registers something to be closed. Parts added later are closed earlier. */
  add(name: string, close: () => Promise<void> | void): void {
    this.#parts.push({ name, close });
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #closeAll(): Promise<void> {
    const failures: unknown[] = [];
    for (const part of this.#parts.reverse()) {
      try {
        await part.close();
      } catch (error) {
        this.#log.error({ err: error, part: part.name }, "a part did not close cleanly");
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, "some parts did not close cleanly");
  }
}
