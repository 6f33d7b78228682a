/**
 * LEAST_LOADED: the worker with the fewest attempts per slot.
 *
 * Over all candidates: two random choices only throw information away when one gateway knows what every worker holds. Ties go to the one that
 * was chosen longest ago, so that an idle cluster does not send everything to its first worker.
 */

import type { Candidate, Strategy } from "./strategy.ts";

export class LeastLoaded implements Strategy {
  readonly name = "LEAST_LOADED";
  readonly #lastChosen = new WeakMap<Candidate, number>();
  #turn = 0;

  choose<C extends Candidate>(candidates: readonly C[]): C {
    let best: C | undefined;
    let bestLoad = Number.POSITIVE_INFINITY;
    let bestTurn = 0;
    for (const candidate of candidates) {
      const load = candidate.inFlight / candidate.slots;
      if (load > bestLoad) continue;
      const turn = this.#lastChosen.get(candidate) ?? 0;
      if (load === bestLoad && turn >= bestTurn) continue;
      best = candidate;
      bestLoad = load;
      bestTurn = turn;
    }
    if (best === undefined) throw new RangeError("A strategy needs at least one candidate.");
    this.#turn += 1;
    this.#lastChosen.set(best, this.#turn);
    return best;
  }
}
