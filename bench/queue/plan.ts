/** How much is measured. */

import type { Bench } from "../run.ts";

export interface Plan {
  readonly rateRounds: number;
  readonly measureMs: Readonly<Record<1 | 64 | 1024, number>>;
  readonly costRounds: number;
  /** Operations of each kind in a round; a multiple of the callers. */
  readonly operations: number;
  /** What stands for a million. */
  readonly pending: number;
  readonly starts: number;
}

export function planOf({ isShort }: Bench): Plan {
  return isShort
    ? {
        rateRounds: 5,
        measureMs: { 1: 400, 64: 400, 1024: 700 },
        costRounds: 7,
        operations: 640,
        pending: 100_000,
        starts: 1,
      }
    : {
        rateRounds: 9,
        measureMs: { 1: 2000, 64: 2000, 1024: 3000 },
        costRounds: 15,
        operations: 3200,
        pending: 1_000_000,
        starts: 3,
      };
}
