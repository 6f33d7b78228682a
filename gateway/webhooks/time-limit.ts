/** Work that ends in time: by itself, because its time is up, or because somebody stopped it. */

import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";

/** @throws `timed_out` when `work` heeds its signal; the reason of `stop` when that aborts. */
export async function within<Result>(
  clock: Clock,
  limitMs: number,
  work: (signal: AbortSignal) => Promise<Result>,
  stop?: AbortSignal,
): Promise<Result> {
  const controller = new AbortController();
  const timer = clock.after(limitMs, () =>
    controller.abort(fail("timed_out", `No answer within ${limitMs / 1000} s.`, { limitMs })),
  );
  const pass = (): void => controller.abort(stop?.reason);
  stop?.addEventListener("abort", pass);
  if (stop?.aborted) pass();
  try {
    return await work(controller.signal);
  } finally {
    timer.cancel();
    stop?.removeEventListener("abort", pass);
  }
}

/** For work that cannot be stopped: its result is ignored once `signal` has aborted. */
export function orAborted<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
