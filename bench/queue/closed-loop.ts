/** Callers that each have one operation under way, again and again. */

import { percentile } from "../load/percentile.ts";

export interface LoopOrder {
  readonly callers: number;
  readonly measureMs: number;
}

export interface LoopResult {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Every operation that was begun counts, and the time until the last of them has ended. */
export async function closedLoop(
  { callers, measureMs }: LoopOrder,
  operation: () => Promise<unknown>,
): Promise<LoopResult> {
  const startedAt = performance.now();
  const stopAt = startedAt + measureMs;
  const took: number[] = [];
  const loop = async (): Promise<void> => {
    for (let now = performance.now(); now < stopAt; ) {
      await operation();
      const then = performance.now();
      took.push(then - now);
      now = then;
    }
  };
  await Promise.all(Array.from({ length: callers }, loop));
  const elapsedMs = performance.now() - startedAt;
  const sorted = Float64Array.from(took).sort();
  return {
    perSecond: (1000 * took.length) / elapsedMs,
    p50Ms: percentile(sorted, 0.5),
    p99Ms: percentile(sorted, 0.99),
  };
}
