/** How long something that waits for the gateway bears with its absence: a drop of the network, a restart. */

import { Backoff } from "@legacygpu/shared/backoff";
import { type Clock, type Random, sleep } from "@legacygpu/shared/clock";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import { DEFAULT_RETRY, mayRetry, retryAfterMs } from "./retry.ts";

export interface WaitTools {
  readonly clock: Clock;
  readonly random: Random;
}

/** So long the gateway may be away before the wait is given up. */
const PATIENCE_MS = 60_000;

export class Patience {
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  readonly #onTrouble: ((error: LegacyGpuError) => void) | undefined;
  #awaySinceMs: number | undefined;

  constructor({ clock, random }: WaitTools, onTrouble?: (error: LegacyGpuError) => void) {
    this.#clock = clock;
    this.#backoff = new Backoff(DEFAULT_RETRY, random);
    this.#onTrouble = onTrouble;
  }

  /** The gateway is there, whatever becomes of the connection. */
  sawLife(): void {
    this.#awaySinceMs = undefined;
  }

  /** The gateway did what it was asked for: the next failure is a new one. */
  refresh(): void {
    this.sawLife();
    this.#backoff.reset();
  }

  /**
   * Sleeps until the next try.
   *
   * @throws `signal.reason` when aborted; `error` when no patience can heal it, or when the gateway has been away for too long.
   */
  async waitOut(error: unknown, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (!mayRetry(error, { isIdempotent: true })) throw error;
    const nowMs = this.#clock.monotonic();
    this.#awaySinceMs ??= nowMs;
    if (nowMs - this.#awaySinceMs > PATIENCE_MS) throw error;
    this.#onTrouble?.(error);
    await sleep(this.#clock, retryAfterMs(error) + this.#backoff.nextMs(), signal);
    signal?.throwIfAborted();
  }
}
