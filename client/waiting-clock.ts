/** The clock of a program that waits for an answer; runs in Node and in a browser. */

import type { Clock } from "@legacygpu/shared/clock";

/** Unlike the servers' clock its timers hold the process: a script that is between two tries must not end there. */
export const waitingClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(delayMs, 2 ** 31 - 1));
    return { cancel: () => clearTimeout(timer) };
  },
};
