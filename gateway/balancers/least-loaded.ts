/**
 * LEAST_LOADED: the worker with the fewest attempts per slot.
 *
 * Over all workers: two random choices only throw information away when one gateway knows what every worker holds. Of equals the one
 * goes first that was chosen longest ago, so that an idle cluster does not send everything to its first worker.
 */

import type { StrategyName } from "@legacygpu/shared/task";
import type { Candidate, Offer, Strategy } from "./strategy.ts";

/** Less than any difference in load. */
const TURN = 1e-12;

export class LeastLoaded implements Strategy {
  readonly name: StrategyName = "LEAST_LOADED";
  readonly isTimed = false;
  readonly makesCopies = false;
  readonly #lastChosen = new WeakMap<Candidate, number>();
  #turn = 0;

  price({ worker }: Offer): number {
    return worker.inFlight / worker.slots + TURN * (this.#lastChosen.get(worker) ?? 0);
  }

  chosen(worker: Candidate): void {
    this.#turn += 1;
    this.#lastChosen.set(worker, this.#turn);
  }
}
