/** Scores → labels: the `classification` postprocessing of a manifest. */

import { fail } from "@legacygpu/shared/errors";
import type { Postprocess } from "@legacygpu/shared/manifest";
import type { Prediction } from "@legacygpu/shared/protocol/messages";
import type { Tensor } from "@legacygpu/shared/tensor";
import { arrayOf } from "./tensors.ts";

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
    case "FP32":
    case "FP64":
      return arrayOf(tensor) as Float32Array | Float64Array;
    case "FP16":
      return Float32Array.from(arrayOf(tensor) as Uint16Array, halfToNumber);
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

/** IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits. */
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
