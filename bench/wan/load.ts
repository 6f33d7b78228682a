/** An open loop of tasks: they arrive when they arrive, however long those before them take. What became of each is kept. */

import { setTimeout as sleep } from "node:timers/promises";
import type { TaskJson } from "@legacygpu/shared/api/tasks";
import { seededRandom } from "../../models/onnx/random.ts";
import type { Cluster } from "../cluster.ts";
import { SLOW } from "./sites.ts";

export interface Outcome {
  /** Since the load began. */
  readonly submittedAtMs: number;
  /** From submission to answer, as a client sees it. */
  readonly latencyMs: number;
  readonly isCompleted: boolean;
  /** Where the last attempt ran; empty when there was none. */
  readonly site: string;
  /** Who had it, the last one last. */
  readonly workers: readonly string[];
}

const INPUT = {
  inputs: [
    {
      name: "input",
      datatype: "FP32",
      shape: [1, SLOW.elements],
      data: new Array<number>(SLOW.elements).fill(0.5),
    },
  ],
};
const WAIT_S = 30;

export class OpenLoop {
  readonly #cluster: Cluster;
  readonly #perSecond: number;
  readonly #random: () => number;
  readonly #startedAtMs = performance.now();
  readonly #underWay = new Set<Promise<void>>();
  readonly #sending: Promise<void>;
  readonly #outcomes: Outcome[] = [];
  #isOver = false;

  constructor(cluster: Cluster, perSecond: number, seed: number) {
    this.#cluster = cluster;
    this.#perSecond = perSecond;
    this.#random = seededRandom(seed);
    this.#sending = this.#send();
  }

  get elapsedMs(): number {
    return performance.now() - this.#startedAtMs;
  }

  /** In the order of their submission, when all have ended. */
  async end(): Promise<Outcome[]> {
    this.#isOver = true;
    await this.#sending;
    await Promise.all(this.#underWay);
    return this.#outcomes.toSorted((a, b) => a.submittedAtMs - b.submittedAtMs);
  }

  async #send(): Promise<void> {
    let nextAtMs = this.elapsedMs;
    while (!this.#isOver) {
      const one = this.#one().finally(() => this.#underWay.delete(one));
      this.#underWay.add(one);
      nextAtMs += (-Math.log(1 - this.#random()) * 1000) / this.#perSecond;
      await sleep(Math.max(0, nextAtMs - this.elapsedMs));
    }
  }

  async #one(): Promise<void> {
    const submittedAtMs = this.elapsedMs;
    const task = await this.#ask().catch(() => undefined);
    const attempts = task?.attempts ?? [];
    this.#outcomes.push({
      submittedAtMs,
      latencyMs: this.elapsedMs - submittedAtMs,
      isCompleted: task?.status === "COMPLETED",
      site: attempts.at(-1)?.site ?? "",
      workers: attempts.map(({ worker }) => worker),
    });
  }

  async #ask(): Promise<TaskJson> {
    const order = { model: SLOW.name, input: INPUT, durability: "relaxed" };
    const { id } = (await this.#cluster.call("POST", "/tasks", order)) as TaskJson;
    return (await this.#cluster.call("GET", `/tasks/${id}?wait=${WAIT_S}`)) as TaskJson;
  }
}

export async function loadFor(
  cluster: Cluster,
  { perSecond, durationMs, seed }: { perSecond: number; durationMs: number; seed: number },
): Promise<Outcome[]> {
  const load = new OpenLoop(cluster, perSecond, seed);
  await sleep(durationMs);
  return load.end();
}
