/** What the clients of the loss test ask for: tasks that differ in everything that matters, each with an answer that is known beforehand. */

import { SortableIds } from "@legacygpu/shared/ids";
import { buildSlow } from "../../models/onnx/hostile.ts";
import { pick, type Random } from "../../models/onnx/random.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";

/** `large` has inputs and outputs that travel beside the link; `slow` takes long enough to be killed while it runs. */
export const MODELS = {
  identity: { size: 16, build: () => buildIdentity({ size: 16 }) },
  slow: { size: 32, build: () => buildSlow({ size: 32, rounds: 8000 }) },
  large: { size: 13_000, build: () => buildIdentity({ size: 13_000 }) },
} as const;
export type ModelName = keyof typeof MODELS;

/** `keyed` and `named` requests can be sent again when there was no answer; `plain` ones cannot. */
const WAYS = ["plain", "keyed", "keyed", "named"] as const;
const FREQUENT: readonly ModelName[] = ["identity", "identity", "slow", "slow", "slow", "large"];
/** Of `slow`: its output is its input and a little more. */
const TOLERANCE = 0.01;

export interface Submission {
  /** Its number: the first element of its input, and in its metadata. */
  readonly n: number;
  readonly way: (typeof WAYS)[number];
  readonly method: "POST" | "PUT";
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export class Workload {
  readonly #random: Random;
  readonly #prefix: string;
  readonly #ids = new SortableIds();
  #count = 0;

  /** @param prefix of the idempotency keys */
  constructor(random: Random, prefix: string) {
    this.#random = random;
    this.#prefix = prefix;
  }

  next(): Submission {
    this.#count += 1;
    const n = this.#count;
    const way = pick(this.#random, WAYS);
    const model = pick(this.#random, FREQUENT);
    const body = JSON.stringify({
      model,
      input: {
        inputs: [{ name: "input", datatype: "FP32", shape: [1, MODELS[model].size], data: dataOf(n, model) }],
      },
      metadata: { n: String(n) },
      ...this.#deadline(),
      // A link that breaks all the time would use up three.
      retry: { max_attempts: 20, backoff_ms: 50 },
    });
    const path = way === "named" ? `/tasks/${this.#ids.nextTaskId(Date.now())}` : "/tasks";
    const headers = way === "keyed" ? { "idempotency-key": `${this.#prefix}-${n}` } : {};
    return { n, way, method: way === "named" ? "PUT" : "POST", path, headers, body };
  }

  /** None, one that most tasks miss, or one that nearly all keep. */
  #deadline(): { deadline_ms?: number } {
    const luck = this.#random();
    if (luck < 0.7) return {};
    return {
      deadline_ms: Math.round(luck < 0.85 ? 100 + 3000 * this.#random() : 30_000 + 30_000 * this.#random()),
    };
  }
}

export function isRightAnswer(n: number, model: ModelName, data: readonly unknown[]): boolean {
  const expected = dataOf(n, model);
  return (
    data.length === expected.length &&
    expected.every((value, i) => Math.abs(value - Number(data[i] ?? Number.NaN)) < TOLERANCE)
  );
}

/** No two tasks have the same. */
function dataOf(n: number, model: ModelName): number[] {
  return Array.from({ length: MODELS[model].size }, (_, i) => n + (i % 8) / 8);
}
