/**
 * ADAPTIVE: the worker that is expected to answer first, and the means to find out who that is now.
 *
 * As LATENCY, but with the time of each model on each worker, and with copies of tasks, which never make a client wait: to an idle worker that nobody has
 * heard from for a while (is it still as slow?), to one with room in its memory (so that the next task finds the model there), and of a task whose
 * answer is late.
 */

import type { StrategyName } from "@legacygpu/shared/task";
import type { Offer, Strategy } from "./strategy.ts";

export class Adaptive implements Strategy {
  readonly name: StrategyName = "ADAPTIVE";
  readonly isTimed = true;
  readonly makesCopies = true;

  price({ rttMs, uploadMs, serviceMs, loadMs, failureMs }: Offer): number {
    return rttMs + uploadMs + serviceMs + loadMs + failureMs;
  }
}
