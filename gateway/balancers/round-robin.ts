/**
 * ROUND_ROBIN: each worker in turn, in proportion to its slots.
 *
 * Every worker has a place on one line of time; each task moves it on by 1 / slots, and the one that is furthest back is next. A newcomer, and one that
 * could not take its turns for a while, starts at the present: it has no arrears. Places begin half a step in, so that slots 5, 1, 1 give
 * a a a b c a a rather than b c a a a a a.
 */

import type { StrategyName } from "@legacygpu/shared/task";
import type { Candidate, Offer, Strategy } from "./strategy.ts";

export class RoundRobin implements Strategy {
  readonly name: StrategyName = "ROUND_ROBIN";
  readonly isTimed = false;
  readonly makesCopies = false;
  readonly #places = new WeakMap<Candidate, number>();
  #present = 0;

  price({ worker }: Offer): number {
    return this.#placeOf(worker);
  }

  chosen(worker: Candidate): void {
    const place = this.#placeOf(worker);
    this.#present = Math.max(this.#present, place);
    this.#places.set(worker, place + 1 / worker.slots);
  }

  #placeOf(worker: Candidate): number {
    const step = 1 / worker.slots;
    let place = this.#places.get(worker);
    if (place === undefined) {
      // Kept, or a newcomer's turn would move away with the present and never come.
      place = this.#present + step / 2;
      this.#places.set(worker, place);
    }
    return Math.max(place, this.#present - step / 2);
  }
}
