/**
 * The port of a balancing strategy: one choice among workers that could take the task now.
 *
 * Who is able and has room is decided before (registry and scheduler), so a strategy is only a preference.
 */

import type { StrategyName } from "@legacygpu/shared/task";

export interface Candidate {
  readonly id: string;
  /** Tasks that it runs at a time. */
  readonly slots: number;
  /** Attempts that it holds: running and prefetched. */
  readonly inFlight: number;
}

export interface Strategy {
  readonly name: StrategyName;
  /** @param candidates at least one. */
  choose<C extends Candidate>(candidates: readonly C[]): C;
}
