/** Two answers of one model, number by number. */

import type { Manifest } from "@legacygpu/shared/manifest";
import type { Tensor } from "@legacygpu/shared/tensor";
import { numbersOf } from "../executors/tensors.ts";

export type Tolerance = NonNullable<Manifest["tolerance"]>;

/** @returns what is wrong with `actual`, in a sentence; undefined when it is right. */
export function firstDifference(
  actual: readonly Tensor[],
  expected: readonly Tensor[],
  tolerance: Tolerance,
): string | undefined {
  for (const wanted of expected) {
    const got = actual.find(({ name }) => name === wanted.name);
    if (got === undefined) return `output \`${wanted.name}\` is missing.`;
    if (got.datatype !== wanted.datatype || !isSameShape(got.shape, wanted.shape))
      return `output \`${wanted.name}\` is ${described(got)} instead of ${described(wanted)}.`;
    const difference = differenceOf(got, wanted, tolerance);
    if (difference !== undefined) return `output \`${wanted.name}\`${difference}`;
  }
  return undefined;
}

function differenceOf(actual: Tensor, expected: Tensor, tolerance: Tolerance): string | undefined {
  if (expected.datatype === "BYTES")
    return Buffer.compare(actual.data, expected.data) === 0 ? undefined : " has other strings.";
  const [got, wanted] = [numbersOf(actual), numbersOf(expected)];
  for (let i = 0; i < wanted.length; i += 1) {
    const [a, b] = [Number(got[i]), Number(wanted[i])];
    if (isClose(a, b, tolerance)) continue;
    return `[${i}] is ${shown(a)} instead of ${shown(b)}.`;
  }
  return undefined;
}

/** Where the right answer is no number, any will do: it is undefined there. */
function isClose(actual: number, expected: number, { absolute, relative }: Tolerance): boolean {
  if (actual === expected || Number.isNaN(expected)) return true;
  if (!Number.isFinite(expected)) return false;
  return Math.abs(actual - expected) <= absolute + relative * Math.abs(expected);
}

function isSameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

const described = ({ datatype, shape }: Tensor): string => `${datatype} [${shape.join(", ")}]`;
const shown = (value: number): string => String(Number(value.toPrecision(6)));
