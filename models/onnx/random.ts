/** Seeded random numbers: the same seed gives the same models and pictures on every machine. */

export type Random = () => number;

/** mulberry32: uniform in [0, 1). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

export function between(random: Random, low: number, high: number): number {
  return low + (high - low) * random();
}

export function pick<Item>(random: Random, items: readonly Item[]): Item {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) throw new RangeError("nothing to pick from");
  return item;
}

/** Normal with mean 0 and deviation 1 (Box-Muller). */
export function gaussian(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** He initialisation, uniform: keeps the variance of activations through ReLU layers. */
export function heWeights(random: Random, count: number, fanIn: number): Float32Array {
  const bound = Math.sqrt(6 / fanIn);
  const weights = new Float32Array(count);
  for (let index = 0; index < count; index += 1) weights[index] = (2 * random() - 1) * bound;
  return weights;
}
