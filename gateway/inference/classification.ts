/** Scores → the best classes as texts, `value:index[:label]`: some bytes instead of kilobytes of numbers on a thin link. */

import type { Tensor } from "@legacygpu/shared/tensor";
import { elementCount } from "@legacygpu/shared/tensor";
import type { Model } from "../models/catalogue.ts";
import { decodeElements, encodeElements } from "../tasks/elements.ts";

type Score = number | bigint;

/** @returns BYTES of shape [k], or [rows, k] where the first dimension of the output is free */
export function bestClasses(tensor: Tensor, topClasses: number, model: Model): Tensor {
  const { name, datatype, shape, data } = tensor;
  const declared = model.outputs.find((spec) => spec.name === name)?.shape ?? shape;
  const hasRows = declared.length > 1 && declared[0] === -1;
  const rows = hasRows ? (shape[0] ?? 0) : 1;
  const all = elementCount(shape);
  const classes = rows === 0 ? 0 : all / rows;
  const count = Math.min(topClasses, classes);
  const scores = decodeElements(datatype, data, all) as Score[];
  const labels = labelsOf(name, model);
  const isWhole = !datatype.startsWith("FP");
  const texts: string[] = [];
  for (let row = 0; row < rows; row += 1) {
    const ofRow = scores.slice(row * classes, (row + 1) * classes);
    for (const index of best(ofRow, count)) {
      const score = ofRow[index] ?? 0;
      const value = isWhole ? String(score) : Number(score).toFixed(6);
      const label = labels?.[index];
      texts.push(label === undefined ? `${value}:${index}` : `${value}:${index}:${label}`);
    }
  }
  return {
    name,
    datatype: "BYTES",
    shape: hasRows ? [rows, count] : [count],
    data: encodeElements("BYTES", texts, () => {
      throw new TypeError("A text is a text.");
    }),
  };
}

/** Only of the output that the manifest's labels are about. */
function labelsOf(output: string, { manifest, outputs }: Model): readonly string[] | undefined {
  const { postprocess } = manifest;
  const labelled = postprocess?.tensor ?? (outputs.length === 1 ? outputs[0]?.name : undefined);
  return labelled === output ? postprocess?.labels : undefined;
}

/** Of equal scores, and of what is no number, the first comes first. */
function best(scores: readonly Score[], count: number): number[] {
  const rank = (score: Score | undefined): Score =>
    score === undefined || Number.isNaN(score) ? Number.NEGATIVE_INFINITY : score;
  return scores
    .map((_, index) => index)
    .sort((a, b) => {
      const [first, second] = [rank(scores[a]), rank(scores[b])];
      return first === second ? a - b : first > second ? -1 : 1;
    })
    .slice(0, count);
}
