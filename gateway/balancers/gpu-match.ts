/**
 * GPU_MATCH: the smallest card that suffices, so that the big ones stay free for the models that need them.
 *
 * What a task requires (memory, provider, card family, labels) has been held against the workers before; of those left the one with the least
 * memory goes first, of equals the least loaded. Workers without a card come last.
 */

import type { StrategyName } from "@legacygpu/shared/task";
import { LeastLoaded } from "./least-loaded.ts";
import type { Candidate, Offer, Strategy } from "./strategy.ts";

/** More than any card has. */
const NO_CARD_BYTES = 2 ** 50;
/** So much memory more weighs as much as a full slot: a size class, since drivers report a few MiB more or less. */
const SIZE_CLASS_BYTES = 2 ** 29;
/** A size class counts more than any load. */
const LARGEST_LOAD = 2 ** 10;

export class GpuMatch implements Strategy {
  readonly name: StrategyName = "GPU_MATCH";
  readonly isTimed = false;
  readonly makesCopies = false;
  readonly #leastLoaded = new LeastLoaded();

  price(offer: Offer): number {
    const { hasCard, memoryBytes } = offer.worker;
    const bytes = hasCard ? (memoryBytes ?? 0) : NO_CARD_BYTES;
    return Math.round(bytes / SIZE_CLASS_BYTES) * LARGEST_LOAD + this.#leastLoaded.price(offer);
  }

  chosen(worker: Candidate): void {
    this.#leastLoaded.chosen(worker);
  }
}
