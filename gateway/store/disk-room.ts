/** Whether the disk has room for new tasks: a reserve stays free, so that tasks which were accepted can end. */

import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { Environment } from "./environment.ts";

/** Asking the disk for every task would cost more than it tells. */
const FRESH_MS = 500;

export class DiskRoom {
  readonly #environment: Environment;
  readonly #reserveBytes: number;
  readonly #clock: Clock;
  /** Until the first answer there is no reason to refuse. */
  #freeBytes = Number.POSITIVE_INFINITY;
  #measuredAtMs = Number.NEGATIVE_INFINITY;

  constructor(environment: Environment, reserveBytes: number, clock: Clock) {
    this.#environment = environment;
    this.#reserveBytes = reserveBytes;
    this.#clock = clock;
  }

  /** @throws `store_full` */
  async assert(): Promise<void> {
    if (this.#clock.monotonic() - this.#measuredAtMs >= FRESH_MS) {
      // Before the answer is there: one caller asks for all, the others go by the answer before.
      this.#measuredAtMs = this.#clock.monotonic();
      this.#freeBytes = await this.#environment.freeBytes();
    }
    if (this.#freeBytes >= this.#reserveBytes) return;
    throw fail(
      "store_full",
      `Only ${mebibytes(this.#freeBytes)} MiB are free on the disk of ${this.#environment.path}; ${mebibytes(this.#reserveBytes)} MiB must stay free for tasks that were accepted.`,
      { freeBytes: this.#freeBytes, reserveBytes: this.#reserveBytes },
    );
  }
}

const mebibytes = (bytes: number): number => Math.floor(bytes / 1024 / 1024);
