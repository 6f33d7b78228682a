/** Scores → labels: the `classification` postprocessing of a manifest. */

import { fail } from "@legacygpu/shared/errors";
import type { Postprocess } from "@legacygpu/shared/manifest";
import type { Prediction } from "@legacygpu/shared/protocol/messages";
import type { Tensor } from "@legacygpu/shared/tensor";
import { numbersOf } from "./tensors.ts";

/**
 * Best first. Undefined when the tensor holds more than one row: labels belong to one picture.
 * @throws `model_run_failed` when the tensor holds no scores.
 */
export function classify(tensor: Tensor, spec: Postprocess): Prediction[] | undefined {
  const classes = tensor.shape.at(-1) ?? 0;
  const values = scoresOf(tensor);
  if (values.length !== classes) return undefined;
  const scores = spec.softmax ? softmax(values) : values;
  return bestIndices(scores, spec.top_k).map((index) => ({
    label: spec.labels?.[index] ?? String(index),
    index,
    score: scores[index] ?? 0,
  }));
}

function scoresOf(tensor: Tensor): ArrayLike<number> {
  switch (tensor.datatype) {
    case "FP16":
    case "FP32":
    case "FP64":
      return numbersOf(tensor) as ArrayLike<number>;
    default:
      throw fail(
        "model_run_failed",
        `Output \`${tensor.name}\` is ${tensor.datatype}; classification needs floats.`,
      );
  }
}

function softmax(values: ArrayLike<number>): Float64Array {
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i += 1) largest = Math.max(largest, values[i] ?? 0);
  const exponentials = Float64Array.from(values, (value) => Math.exp(value - largest));
  const sum = exponentials.reduce((total, value) => total + value, 0);
  return exponentials.map((value) => value / sum);
}

function bestIndices(scores: ArrayLike<number>, count: number): number[] {
  return Array.from(scores, (_, index) => index)
    .sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0))
    .slice(0, count);
}
