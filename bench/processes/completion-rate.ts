/** How many runs end per second when some are always under way. */

export interface Completions {
  readonly perSecond: number;
  /** With those at both ends, which the rate leaves out. */
  readonly runs: number;
}

/** On a machine that is busy otherwise, the time alone might see none. */
const LEAST_ENDS = 3;

/**
 * Between the first and the last end, so that neither filling nor emptying the pipeline counts. Resolves when all have ended.
 *
 * @param measureMs goes on for longer when too few have ended by then.
 */
export async function completionRate(
  outstanding: number,
  measureMs: number,
  run: () => Promise<unknown>,
): Promise<Completions> {
  const stopAt = performance.now() + measureMs;
  const ends: number[] = [];
  let counted = 0;
  const isOver = (): boolean => performance.now() >= stopAt && ends.length >= LEAST_ENDS;
  const loop = async (): Promise<void> => {
    while (!isOver()) {
      await run();
      ends.push(performance.now());
      // What ends after that does so with fewer beside it.
      if (counted === 0 && isOver()) counted = ends.length;
    }
  };
  await Promise.all(Array.from({ length: outstanding }, loop));
  const elapsedMs = (ends[counted - 1] ?? 0) - (ends[0] ?? 0);
  return { perSecond: (1000 * (counted - 1)) / elapsedMs, runs: ends.length };
}
