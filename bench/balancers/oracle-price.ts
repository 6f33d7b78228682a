/** Which of the workers a task is for, and whether now: the price of a wait is paid by all those behind as well. */

import type { Outlook } from "./oracle-outlook.ts";
import type { RandomStream } from "./random.ts";

const MAX_LOAD = 0.95;
const TIE_MS = 1e-6;

/** What a task would get at one worker. */
export interface Offer {
  readonly outlook: Outlook;
  readonly serviceMs: number;
  readonly waitMs: number;
  /** What it costs without the wait. */
  readonly baseMs: number;
}

export interface Choice {
  readonly outlook: Outlook;
  readonly serviceMs: number;
  /** False: it is worth waiting for. */
  readonly isNow: boolean;
}

export interface Demand {
  /** Tasks that wait behind this one. */
  readonly behind: number;
  readonly ratePerMs: number;
  /** Decides between equals. */
  readonly random: RandomStream;
}

export function choose(offers: readonly Offer[], demand: Demand): Choice | undefined {
  const open = cheapestOpen(offers, demand.random);
  const betterRate = open === undefined ? 0 : rateBelow(offers, open.baseMs);
  const waitPrice =
    open === undefined ? 1 : 1 / (1 - Math.min(MAX_LOAD, demand.ratePerMs / Math.max(1e-9, betterRate)));
  const later = cheapestClosed(offers, waitPrice);
  if (open === undefined) return later && { ...choiceOf(later), isNow: false };
  if (later === undefined) return choiceOf(open);
  const behindMs = betterRate > 0 ? (waitPrice * demand.behind) / betterRate : 0;
  const nowMs = open.baseMs + open.waitMs;
  if (nowMs <= later.baseMs + waitPrice * later.waitMs + behindMs) return choiceOf(open);
  return { ...choiceOf(later), isNow: false };
}

const choiceOf = ({ outlook, serviceMs }: Offer): Choice => ({ outlook, serviceMs, isNow: true });

function cheapestOpen(offers: readonly Offer[], random: RandomStream): Offer | undefined {
  let best: Offer | undefined;
  let bestMs = Number.POSITIVE_INFINITY;
  let equals = 0;
  for (const offer of offers) {
    if (!offer.outlook.isOpen) continue;
    const costMs = offer.baseMs + offer.waitMs;
    if (costMs < bestMs - TIE_MS) {
      best = offer;
      bestMs = costMs;
      equals = 1;
    } else if (costMs <= bestMs + TIE_MS) {
      equals += 1;
      if (random.next() * equals < 1) best = offer;
    }
  }
  return best;
}

/** Of the workers that are better than that, in tasks per millisecond. */
function rateBelow(offers: readonly Offer[], baseMs: number): number {
  let rate = 0;
  for (const offer of offers) if (offer.baseMs < baseMs - TIE_MS) rate += offer.outlook.ratePerMs;
  return rate;
}

function cheapestClosed(offers: readonly Offer[], waitPrice: number): Offer | undefined {
  let best: Offer | undefined;
  let bestMs = Number.POSITIVE_INFINITY;
  for (const offer of offers) {
    const costMs = offer.baseMs + waitPrice * offer.waitMs;
    if (offer.outlook.isOpen || costMs >= bestMs) continue;
    best = offer;
    bestMs = costMs;
  }
  return best;
}
