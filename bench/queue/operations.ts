/** What is done to a queue, with as many tasks in it afterwards as before, and what it costs. */

import type { TaskId } from "@legacygpu/shared/ids";
import { type GatewayCore, PRINCIPAL, submission } from "./core.ts";
import type { Cost, Operation } from "./costs.ts";
import { GatedWorker } from "./gated-worker.ts";

/** Under way at a time; they share the syncs of the disk. */
const CALLERS = 64;

export class Operations {
  readonly #core: GatewayCore;
  readonly #worker: GatedWorker;
  #deaths = 0;

  constructor(core: GatewayCore) {
    this.#core = core;
    this.#worker = new GatedWorker(core, "patient", { answers: true });
  }

  async cost(operation: Operation, count: number): Promise<Cost> {
    if (operation === "cycle") return this.#measured(count, () => this.#cycle(count));
    if (operation === "requeue") return this.#measured(count, () => this.#requeue(count));
    const ids = await this.#submit(count);
    return this.#measured(count, () => this.#cancel(ids));
  }

  /** A task comes, the oldest is taken and ends. */
  async #cycle(count: number): Promise<void> {
    const loop = async (share: number): Promise<void> => {
      for (let i = 0; i < share; i += 1) {
        await this.#core.tasks.submit(PRINCIPAL, [submission()]);
        await this.#worker.take();
      }
    };
    await Promise.all(Array.from({ length: CALLERS }, () => loop(count / CALLERS)));
  }

  /** The same, but the first worker that takes it dies, and it goes back to the front. */
  async #requeue(count: number): Promise<void> {
    for (let done = 0; done < count; done += CALLERS) {
      await this.#submit(CALLERS);
      this.#deaths += 1;
      const doomed = new GatedWorker(this.#core, `doomed-${this.#deaths}`, { answers: false });
      for (let i = 0; i < CALLERS; i += 1) void doomed.take();
      const held = doomed.die();
      if (held !== CALLERS) throw new Error(`The worker had taken ${held} tasks, not ${CALLERS}.`);
      await Promise.all(Array.from({ length: CALLERS }, () => this.#worker.take()));
    }
  }

  async #cancel(ids: TaskId[]): Promise<void> {
    const loop = async (): Promise<void> => {
      for (let id = ids.pop(); id !== undefined; id = ids.pop()) {
        await this.#core.tasks.cancel(PRINCIPAL, id);
        // Its end is stored then.
        const { state } = await this.#core.tasks.get(PRINCIPAL, id);
        if (state !== "CANCELLED") throw new Error(`${id} is ${state}.`);
      }
    };
    await Promise.all(Array.from({ length: CALLERS }, loop));
  }

  async #submit(count: number): Promise<TaskId[]> {
    const submitted = Array.from({ length: count }, () => this.#core.tasks.submit(PRINCIPAL, [submission()]));
    return (await Promise.all(submitted)).flatMap((tasks) => tasks.map(({ id }) => id));
  }

  async #measured(count: number, work: () => Promise<void>): Promise<Cost> {
    const cpuBefore = process.cpuUsage();
    const before = performance.now();
    await work();
    const elapsedUs = (performance.now() - before) * 1000;
    const { user, system } = process.cpuUsage(cpuBefore);
    return { elapsedUs: elapsedUs / count, cpuUs: (user + system) / count };
  }
}
