/**
 * Ctrl-C and friends as two AbortSignals: the first asks to stop, the second not to wait for that.
 *
 * One key press can arrive twice: the terminal signals the whole process group, and npm passes its copy on. Hence the pause
 * before a second signal counts.
 */

import type { CliIo, StopSignal } from "./io.ts";

const SAME_PRESS_MS = 500;

export interface StopSignals {
  readonly first: AbortSignal;
  readonly second: AbortSignal;
  dispose(): void;
}

/** `reason` of both signals. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  readonly signal: StopSignal;

  constructor(signal: StopSignal) {
    super(`stopped by ${signal}`);
    this.signal = signal;
  }
}

export function watchSignals({ onSignal, clock }: Pick<CliIo, "onSignal" | "clock">): StopSignals {
  const first = new AbortController();
  const second = new AbortController();
  let firstAt = 0;
  const dispose = onSignal((signal) => {
    const now = clock.monotonic();
    if (!first.signal.aborted) {
      firstAt = now;
      first.abort(new Interrupted(signal));
    } else if (now - firstAt >= SAME_PRESS_MS) {
      second.abort(new Interrupted(signal));
    }
  });
  return { first: first.signal, second: second.signal, dispose };
}

/** Resolves when `signal` aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Settles like `work`, or rejects with the reason of `signal` if that comes first. */
export async function unlessAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return Promise.race([
    work,
    aborted(signal).then(() => {
      throw signal.reason;
    }),
  ]);
}
