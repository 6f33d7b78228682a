/** How long a run is expected to go on, when it has already taken so long. Service times are taken to be lognormal. */

/** Below it the formula says next to nothing of a run that is far over its time. */
const LEAST_SHARE = 0.02;
/** From so many means on the tail is not known any more: it is taken to go on in proportion. */
const FAR = 10;
const FAR_SHARE = 0.3;

/**
 * E[X − e | X > e] of a lognormal X.
 *
 * @param sigma of the logarithm
 * @returns milliseconds
 */
export function expectedRemainingMs(elapsedMs: number, meanMs: number, sigma: number): number {
  if (elapsedMs <= 0) return meanMs - elapsedMs;
  const elapsed = elapsedMs / meanMs;
  if (elapsed >= FAR) return elapsedMs * FAR_SHARE;
  const spread = Math.max(0.05, sigma);
  const z = (Math.log(elapsed) + (spread * spread) / 2) / spread;
  const mean =
    z > 4.5 ? (elapsed * spread) / z : normalCdf(spread - z) / Math.max(1e-12, normalCdf(-z)) - elapsed;
  return meanMs * Math.max(LEAST_SHARE, mean);
}

/** Abramowitz and Stegun 26.2.17: off by 7.5e-8 at most. */
function normalCdf(x: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(x));
  const density = 0.3989422804 * Math.exp((-x * x) / 2);
  const tail =
    density *
    t *
    (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return x >= 0 ? 1 - tail : tail;
}
