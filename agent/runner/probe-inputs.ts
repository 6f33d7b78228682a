/** Inputs that nobody chose, for a model that is to prove itself: the same ones each time, from what the model says of its inputs. */

import type { Preprocess } from "@legacygpu/shared/manifest";
import {
  type Datatype,
  ELEMENT_BYTES,
  elementCount,
  type Tensor,
  type TensorSpec,
} from "@legacygpu/shared/tensor";
import { bytesOf } from "../executors/tensors.ts";

/** Sizes for dimensions that are not the first: some models cannot halve a picture of one pixel five times. */
export const VARIABLE_SIZES = [1, 32] as const;
/** Integers mostly stand for rows of a table; only the first are sure to be there. */
const INTEGER_BOUND = 4;

/** @param variableSize of the dimensions that may be any, except the first, which is 1. */
export function probeInputs(
  specs: readonly TensorSpec[],
  preprocess: Preprocess | undefined,
  variableSize: number,
): Tensor[] {
  return specs.map((spec, index) => {
    const isPicture = preprocess !== undefined && (specs.length === 1 || spec.name === preprocess.tensor);
    const fixed = isPicture ? pictureShape(spec.shape, preprocess) : spec.shape;
    const shape = fixed.map((size, axis) => (size >= 0 ? size : axis === 0 ? 1 : variableSize));
    const { name, datatype } = spec;
    return { name, datatype, shape, data: fill(datatype, elementCount(shape), numbersFrom(index + 1)) };
  });
}

function pictureShape(
  shape: readonly number[],
  { layout, width, height, colors }: Preprocess,
): readonly number[] {
  if (shape.length !== 4) return shape;
  const channels = colors === "GRAY" ? 1 : 3;
  const wanted = layout === "NCHW" ? [1, channels, height, width] : [1, height, width, channels];
  return shape.map((size, axis) => (size >= 0 ? size : (wanted[axis] ?? 1)));
}

/** Uniform in [0, 1): xorshift, which needs to be no better than this. */
function numbersFrom(seed: number): () => number {
  let state = (seed * 0x9e3779b9) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

function fill(datatype: Datatype, count: number, next: () => number): Uint8Array {
  const numbers = (of: (value: number) => number): number[] =>
    Array.from({ length: count }, () => of(next()));
  const integers = (bound: number): number[] => numbers((value) => Math.floor(value * bound));
  switch (datatype) {
    case "BYTES":
      return bytesOf(new Array<string>(count).fill(""));
    case "BOOL":
      return Uint8Array.from(integers(2));
    case "FP32":
      return bytesOf(Float32Array.from(numbers(signed)));
    case "FP64":
      return bytesOf(Float64Array.from(numbers(signed)));
    case "FP16":
      return bytesOf(Uint16Array.from(numbers(halfBits)));
    case "UINT8":
      // Bytes are pictures more often than indices.
      return Uint8Array.from(integers(256));
    default:
      return littleEndian(integers(INTEGER_BOUND), ELEMENT_BYTES[datatype]);
  }
}

/** Integers that fit into one byte, in any integer type. */
function littleEndian(values: readonly number[], elementBytes: number): Uint8Array {
  const bytes = new Uint8Array(values.length * elementBytes);
  for (const [index, value] of values.entries()) bytes[index * elementBytes] = value;
  return bytes;
}

const signed = (value: number): number => 2 * value - 1;

/** A binary16 between 0.5 and 1, of either sign. */
function halfBits(value: number): number {
  const fraction = Math.floor(((value * 2) % 1) * 1024);
  return (value < 0.5 ? 0x8000 : 0) | (14 << 10) | fraction;
}
