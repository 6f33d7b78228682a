/** Percentiles by nearest rank: always a value that was measured. */

/** @param sorted ascending. @param share 0.99 for p99; the smallest value that so many are not above. */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  const rank = Math.max(1, Math.ceil(share * sorted.length));
  return sorted[rank - 1] ?? Number.NaN;
}
