/**
 * ROUND_ROBIN: each worker in turn, in proportion to its slots.
 *
 * Smooth weighted round robin, as nginx does it: every choice adds each candidate's weight to its score, takes the highest score, and
 * subtracts the total from the winner. Weights 5, 1, 1 give a a b a c a a rather than a a a a a b c.
 */

import type { Candidate, Strategy } from "./strategy.ts";

export class RoundRobin implements Strategy {
  readonly name = "ROUND_ROBIN";
  readonly #scores = new WeakMap<Candidate, number>();

  choose<C extends Candidate>(candidates: readonly C[]): C {
    let total = 0;
    let best: C | undefined;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (const candidate of candidates) {
      const score = (this.#scores.get(candidate) ?? 0) + candidate.slots;
      this.#scores.set(candidate, score);
      total += candidate.slots;
      if (score > bestScore) {
        best = candidate;
        bestScore = score;
      }
    }
    if (best === undefined) throw new RangeError("A strategy needs at least one candidate.");
    this.#scores.set(best, bestScore - total);
    return best;
  }
}
