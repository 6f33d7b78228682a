/** How the share of a site, or of a worker, moves after something has happened to it. */

import type { Numbers } from "../report.ts";
import { median } from "../rounds.ts";
import type { Outcome } from "./load.ts";

/** Of so many tasks submitted one after the other the share is taken. */
const WINDOW_TASKS = 15;
/** A change of the share by less is none. */
const LEAST_SHIFT = 0.1;

export interface Event {
  readonly outcomes: readonly Outcome[];
  readonly eventMs: number;
  isTheirs(outcome: Outcome): boolean;
  /** From here on a request has been harmed. */
  readonly harmedMs: number;
}

/** `settled_ms` is until the share has gone nine tenths of its way; the whole time when it never went. */
export function shiftNumbers({ outcomes, eventMs, isTheirs, harmedMs }: Event): Numbers {
  const before = outcomes.filter(({ submittedAtMs }) => submittedAtMs < eventMs);
  const after = outcomes.filter(({ submittedAtMs }) => submittedAtMs >= eventMs);
  const late = after.slice(Math.floor((2 * after.length) / 3));
  const [shareBefore, shareAfter] = [shareOf(before, isTheirs), shareOf(late, isTheirs)];
  const hasShifted = Math.abs(shareAfter - shareBefore) >= LEAST_SHIFT;
  const enough = 0.9 * Math.abs(shareAfter - shareBefore);
  const settled = after.find((_, index) => {
    const window = after.slice(index, index + WINDOW_TASKS);
    return Math.abs(shareOf(window, isTheirs) - shareBefore) >= enough;
  });
  const lastMs = after.at(-1)?.submittedAtMs ?? eventMs;
  return {
    share_before: shareBefore,
    share_after: shareAfter,
    has_shifted: hasShifted ? 1 : 0,
    settled_ms: Math.round((hasShifted ? (settled?.submittedAtMs ?? lastMs) : lastMs) - eventMs),
    p50_before_ms: middle(before),
    p50_after_ms: middle(late),
    requests: after.length,
    harmed: after.filter(({ latencyMs, isCompleted }) => !isCompleted || latencyMs > harmedMs).length,
    failed: after.filter(({ isCompleted }) => !isCompleted).length,
  };
}

export function shareOf(outcomes: readonly Outcome[], isTheirs: (outcome: Outcome) => boolean): number {
  return outcomes.length === 0 ? 0 : outcomes.filter(isTheirs).length / outcomes.length;
}

export function middle(outcomes: readonly Outcome[]): number {
  return outcomes.length === 0 ? -1 : median(outcomes.map(({ latencyMs }) => latencyMs));
}
