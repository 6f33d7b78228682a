/** Which tasks come when: the same for every strategy. */

import type { RandomStream } from "./random.ts";
import type { BurstSpec, Story } from "./scenario.ts";

const DEFAULT_SIGMA = 0.4;
const URGENT_SHARE = 0.1;

export interface ArrivalPlan {
  readonly tasks: readonly PlannedTask[];
  /** Mean arrival rate at that moment, in tasks per millisecond. To be asked in the order of time. */
  readonly ratePerMs: (atMs: number) => number;
}

export interface PlannedTask {
  readonly arrivedAtMs: number;
  readonly model: number;
  /** Against the mean of its model. */
  readonly work: number;
  readonly isUrgent: boolean;
}

/** From `fromMs` on the rate is multiplied by `factor`. */
interface Phase {
  readonly fromMs: number;
  readonly factor: number;
}

export function planArrivals(story: Story, random: RandomStream): ArrivalPlan {
  const { durationMs, ratePerMs, maxTasks, rateFn, models, hiShare = URGENT_SHARE } = story;
  const phases = story.burst === undefined ? undefined : new Phases(story.burst, random);
  const baseRate = (atMs: number): number => ratePerMs * (rateFn?.(atMs) ?? 1);
  const tasks: PlannedTask[] = [];
  const shares = models.map(({ share }) => share);
  let atMs = 0;
  while (tasks.length < maxTasks) {
    const meanMs = 1 / (baseRate(atMs) * (phases?.continueTo(atMs) ?? 1));
    atMs += random.exponential(meanMs);
    if (atMs >= durationMs) break;
    const model = drawn(story.shareFn?.(atMs) ?? shares, random.next());
    const work = random.lognormal(models[model]?.sigma ?? DEFAULT_SIGMA);
    tasks.push({ arrivedAtMs: atMs, model, work, isUrgent: random.next() < hiShare });
  }
  return { tasks, ratePerMs: (at) => baseRate(at) * (phases?.factorAt(at) ?? 1) };
}

function drawn(shares: readonly number[], uniform: number): number {
  const total = shares.reduce((sum, share) => sum + share, 0);
  const wanted = uniform * total;
  let sum = 0;
  for (const [index, share] of shares.entries()) {
    sum += share;
    if (sum >= wanted) return index;
  }
  return shares.length - 1;
}

/** Quiet at first; then bursts and quiet take turns. */
class Phases {
  readonly #spec: BurstSpec;
  readonly #random: RandomStream;
  readonly #phases: Phase[];
  #endMs: number;
  #isBurst = false;
  #index = 0;

  constructor(spec: BurstSpec, random: RandomStream) {
    this.#spec = spec;
    this.#random = random;
    this.#phases = [{ fromMs: 0, factor: spec.low }];
    this.#endMs = random.exponential(spec.lowMs);
  }

  /** Draws what comes until then. */
  continueTo(atMs: number): number {
    const { low, high, lowMs, highMs } = this.#spec;
    while (atMs > this.#endMs) {
      this.#isBurst = !this.#isBurst;
      this.#phases.push({ fromMs: this.#endMs, factor: this.#isBurst ? high : low });
      this.#endMs += this.#random.exponential(this.#isBurst ? highMs : lowMs);
    }
    return this.#isBurst ? high : low;
  }

  factorAt(atMs: number): number {
    for (let next = this.#phases[this.#index + 1]; next !== undefined && next.fromMs <= atMs; ) {
      this.#index += 1;
      next = this.#phases[this.#index + 1];
    }
    return this.#phases[this.#index]?.factor ?? 1;
  }
}
