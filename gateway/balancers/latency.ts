/**
 * LATENCY: the worker that is expected to answer first.
 *
 * Round trip (pooled over the worker's site), the payload's time on the line, loading the model where it has to be loaded, and computing, by a speed that is
 * learned for each worker; the dispatcher adds the queue. It tries nothing out: a worker that has become faster is noticed when it gets
 * a task.
 */

import type { StrategyName } from "@legacygpu/shared/task";
import type { Offer, Strategy } from "./strategy.ts";

export class Latency implements Strategy {
  readonly name: StrategyName = "LATENCY";
  readonly isTimed = true;
  readonly makesCopies = false;

  price({ rttMs, uploadMs, serviceBySpeedMs, loadMs, failureMs }: Offer): number {
    return rttMs + uploadMs + serviceBySpeedMs + loadMs + failureMs;
  }
}
