/** The simplest policy of the balancers' simulator: first come, first served, by any worker with a free slot. */

import type { SimTask } from "../../bench/balancers/attempt.ts";
import type { Policy } from "../../bench/balancers/policy.ts";
import type { Simulation } from "../../bench/balancers/simulation.ts";

export class FirstFree implements Policy {
  readonly waiting: SimTask[] = [];
  readonly #simulation: Simulation;
  #first = 0;

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
  }

  queued(task: SimTask): void {
    this.waiting.push(task);
  }

  decide(): void {
    for (const worker of this.#simulation.workers) {
      while (worker.isConnected && worker.held.length < worker.slots) {
        const task = this.waiting[this.#first];
        if (task === undefined) return;
        this.#first += 1;
        this.#simulation.send(task, worker, task.failures > 0 ? "retry" : "first");
      }
    }
  }

  joined(): void {}
  left(): void {}
  pinged(): void {}
  heard(): void {}
  roundTrip(): void {}
  answered(): void {}
  withdrawn(): void {}
  superseded(): void {}
  scripted(): void {}
  close(): void {}
}
