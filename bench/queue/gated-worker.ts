/** A worker without a connection, which takes as many tasks as it is told to, and answers each in a later turn, as if it came over a link. */

import type { Worker, WorkerLink } from "@legacygpu/gateway/registry/worker";
import type { TaskId } from "@legacygpu/shared/ids";
import type { GatewayMessage, TaskOutput } from "@legacygpu/shared/protocol/messages";
import type { GatewayCore } from "./core.ts";

/** Above what is ever under way. */
const SLOTS = 1024;
const OUTPUT: TaskOutput = {
  kind: "output",
  tensors: [{ name: "output", datatype: "FP32", shape: [1, 16], data: new Uint8Array(64) }],
};
const NO_TIME = { queuedMs: 0, fetchMs: 0, loadMs: 0, preprocessMs: 0, executeMs: 1, postprocessMs: 0 };

interface Taken {
  readonly id: TaskId;
  readonly token: number;
  readonly onEnded: () => void;
}

export class GatedWorker implements WorkerLink {
  readonly sessionId = "session";
  readonly keyId = "worker";
  readonly #core: GatewayCore;
  readonly #worker: Worker;
  readonly #answers: boolean;
  /** For each task that it may still take, who wants to know of its end. */
  #orders: (() => void)[] = [];
  #taken: Taken[] = [];
  #isAnswering = false;

  /** @param answers false: it only takes. */
  constructor(core: GatewayCore, workerId: string, { answers }: { readonly answers: boolean }) {
    this.#core = core;
    this.#answers = answers;
    const arrival = core.registry.arrive(
      {
        type: "hello",
        protocol: [1],
        agentVersion: "bench",
        workerId,
        instanceId: workerId,
        site: "bench",
        labels: {},
        hardware: { cpu: { model: "bench", cores: 1 }, memoryBytes: 1, platform: "bench", gpus: [] },
        providers: ["cpu"],
        slots: SLOTS,
        models: [],
        held: [],
      },
      this,
    );
    if (arrival.kind === "taken") throw new Error(`${workerId} is taken.`);
    this.#worker = arrival.worker;
  }

  get canSend(): boolean {
    return this.#orders.length > 0;
  }

  /** Takes one more, the first in the queue; resolves when its end is stored. */
  take(): Promise<void> {
    return new Promise((resolve) => {
      this.#orders.push(resolve);
      this.#core.scheduler.dispatch();
    });
  }

  send(message: GatewayMessage): void {
    const onEnded = message.type === "task" ? this.#orders.shift() : undefined;
    if (message.type !== "task" || onEnded === undefined || !this.#answers) return;
    this.#taken.push({ id: message.taskId as TaskId, token: message.token, onEnded });
    if (this.#isAnswering) return;
    this.#isAnswering = true;
    setImmediate(() => this.#answer());
  }

  announce(): void {}

  /** Its process is gone; what it held goes back to the queue. @returns how many those were. */
  die(): number {
    const held = this.#worker.inFlight;
    this.#core.registry.giveUp(this.#worker, "it died");
    return held;
  }

  #answer(): void {
    this.#isAnswering = false;
    const { scheduler, tasks } = this.#core;
    for (const { id, token, onEnded } of this.#taken.splice(0)) {
      const stop = tasks.watch.watch(id, ({ state }) => {
        if (state !== "COMPLETED") return;
        stop();
        onEnded();
      });
      scheduler.completed(this.#worker, token, OUTPUT, NO_TIME);
    }
  }
}
