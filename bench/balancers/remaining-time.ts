/**
 * How long a run with a lognormal time still takes when it has taken so long: the oracle's own tables, so that it stays the same yardstick whatever the
 * gateway comes to believe.
 */

const STEPS_PER_MEAN = 20;
const MEANS = 10;
const SIGMAS_PER_UNIT = 20;
const LEAST_SIGMA = 0.05;
const LEAST_SHARE = 0.02;
/** Beyond the table it goes on in proportion. */
const BEYOND_SHARE = 0.3;
/** From so many deviations on the tail is taken for exponential. */
const FAR_DEVIATIONS = 4.5;

const tables = new Map<number, Float64Array>();

/** @param sigma of the logarithm; rounded to twentieths. */
export function remainingMs(elapsedMs: number, meanMs: number, sigma: number): number {
  if (elapsedMs <= 0) return meanMs - elapsedMs;
  const means = elapsedMs / meanMs;
  if (means >= MEANS) return elapsedMs * BEYOND_SHARE;
  const table = tableOf(Math.round(sigma * SIGMAS_PER_UNIT));
  const place = means * STEPS_PER_MEAN;
  const index = Math.floor(place);
  const below = table[index] ?? LEAST_SHARE;
  const above = table[index + 1] ?? below;
  return meanMs * (below + (above - below) * (place - index));
}

function tableOf(key: number): Float64Array {
  let table = tables.get(key);
  if (table === undefined) {
    const sigma = Math.max(LEAST_SIGMA, key / SIGMAS_PER_UNIT);
    table = Float64Array.from({ length: MEANS * STEPS_PER_MEAN + 1 }, (_, index) =>
      index === 0 ? 1 : Math.max(LEAST_SHARE, remainingMeans(index / STEPS_PER_MEAN, sigma)),
    );
    tables.set(key, table);
  }
  return table;
}

/** In units of the mean. */
function remainingMeans(elapsed: number, sigma: number): number {
  const deviations = (Math.log(elapsed) + (sigma * sigma) / 2) / sigma;
  if (deviations > FAR_DEVIATIONS) return (elapsed * sigma) / deviations;
  return normalCdf(sigma - deviations) / Math.max(1e-12, normalCdf(-deviations)) - elapsed;
}

/** Abramowitz and Stegun 26.2.17. */
function normalCdf(x: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(x));
  let series = 0;
  for (const coefficient of [1.330274429, -1.821255978, 1.781477937, -0.356563782, 0.31938153])
    series = t * (coefficient + series);
  const tail = 0.3989422804 * Math.exp((-x * x) / 2) * series;
  return x >= 0 ? 1 - tail : tail;
}
