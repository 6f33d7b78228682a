/**
 * Reproducible randomness: a stream for each concern, so that all strategies meet the same arrivals and the same work, and normal deviates that
 * depend on nothing but their names, so that a task takes the same on a worker whoever sends it there.
 */

/** The finishing rounds of MurmurHash3. */
function scrambled(value: number): number {
  let bits = value;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

/** sfc32, "small fast counting". */
export class RandomStream {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;
  #spareNormal: number | undefined;

  constructor(seed: number, stream: number) {
    this.#a = scrambled(seed + 0x9e3779b9);
    this.#b = scrambled(stream + 0x7f4a7c15 + seed * 31);
    this.#c = scrambled(this.#a ^ this.#b ^ 0x1234567);
    for (let i = 0; i < 12; i += 1) this.#bits();
  }

  /** Uniform in (0, 1). */
  next(): number {
    return (this.#bits() + 0.5) / 2 ** 32;
  }

  exponential(mean: number): number {
    return -Math.log(this.next()) * mean;
  }

  normal(): number {
    const spare = this.#spareNormal;
    if (spare !== undefined) {
      this.#spareNormal = undefined;
      return spare;
    }
    const radius = Math.sqrt(-2 * Math.log(this.next()));
    const angle = 2 * Math.PI * this.next();
    this.#spareNormal = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  /** Its mean is 1, whatever the sigma of its logarithm. */
  lognormal(sigma: number): number {
    return Math.exp(sigma * this.normal() - (sigma * sigma) / 2);
  }

  #bits(): number {
    const result = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0;
    return result >>> 0;
  }
}

/** About normal: the sum of four uniform numbers, scaled to variance 1. */
export function namedNormal(one: number, other: number, seed: number): number {
  const first = scrambled(Math.imul(one + 1, 0x9e3779b1) ^ Math.imul(other + 7, 0x85ebca77) ^ seed);
  const second = scrambled(first ^ 0xa511e9b3);
  const sum = (first & 0xffff) + (first >>> 16) + (second & 0xffff) + (second >>> 16);
  return (sum / 0xffff - 2) * Math.sqrt(3);
}
