/** Time and timers as a port, so that everything which waits can be tested on a virtual clock. */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall clock, milliseconds since the Unix epoch. For records and messages. */
  now(): number;
  /** Monotonic milliseconds from an arbitrary origin. For durations. */
  monotonic(): number;
  /** Calls `callback` once after `delayMs`. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): Timer;
}

/** Uniform in [0, 1). */
export type Random = () => number;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, callback) {
    // A longer delay than setTimeout can express would fire at once.
    const timer = setTimeout(callback, Math.min(delayMs, 2 ** 31 - 1));
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
};

/** Calls `callback` every `intervalMs` until cancelled. */
export function every(clock: Clock, intervalMs: number, callback: () => void): Timer {
  let current = clock.after(intervalMs, tick);
  let isCancelled = false;
  function tick(): void {
    callback();
    if (!isCancelled) current = clock.after(intervalMs, tick);
  }
  return {
    cancel() {
      isCancelled = true;
      current.cancel();
    },
  };
}

/** Resolves after `delayMs`, or at once when `signal` aborts. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const wake = (): void => {
      timer.cancel();
      signal?.removeEventListener("abort", wake);
      resolve();
    };
    const timer = clock.after(delayMs, wake);
    signal?.addEventListener("abort", wake, { once: true });
  });
}
