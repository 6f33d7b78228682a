/** Time that passes from event to event. */

import type { Clock, Timer } from "@legacygpu/shared/clock";
import { IndexedHeap } from "../../gateway/queue/heap.ts";

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly happen: () => void;
  position: number;
}

export class VirtualClock implements Clock {
  readonly #events = new IndexedHeap<Event>(
    (a, b) => (a.atMs === b.atMs ? a.order < b.order : a.atMs < b.atMs),
    {
      get: (event) => event.position,
      set: (event, position) => {
        event.position = position;
      },
    },
  );
  #nowMs = 0;
  #order = 0;

  now(): number {
    return this.#nowMs;
  }

  monotonic(): number {
    return this.#nowMs;
  }

  after(delayMs: number, happen: () => void): Timer {
    return this.at(this.#nowMs + Math.max(0, delayMs), happen);
  }

  /** What is due at the same time happens in the order in which it was set. */
  at(atMs: number, happen: () => void): Timer {
    this.#order += 1;
    const event: Event = { atMs, order: this.#order, happen, position: -1 };
    this.#events.add(event);
    return { cancel: () => void this.#events.remove(event) };
  }

  /** Lets everything happen that is due until then. Time ends at the last of it. */
  run(untilMs: number): void {
    for (let event = this.#events.first; event !== undefined; event = this.#events.first) {
      if (event.atMs > untilMs) return;
      this.#events.remove(event);
      this.#nowMs = event.atMs;
      event.happen();
    }
  }
}
