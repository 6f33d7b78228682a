/** Many pictures as tensors. They are drawn as files and go through the worker's own preprocessing. */

import { preprocessSchema } from "@legacygpu/shared/manifest";
import { preprocessImage } from "../../agent/images/preprocess.ts";
import { pick, type Random, seededRandom } from "../onnx/random.ts";
import type { Face } from "./fonts.ts";
import { PREPROCESS, SIDE } from "./manifest.ts";
import { drawPicture } from "./picture.ts";

export const PICTURE_VALUES = 3 * SIDE * SIDE;

export interface Dataset {
  /** Pixels from 0 to 255, {@link PICTURE_VALUES} for each picture, channel by channel. */
  readonly pixels: Uint8Array;
  readonly labels: Uint8Array;
}

export interface DatasetOptions {
  readonly count: number;
  readonly seed: number;
  readonly faces: readonly Face[];
  /** How many of the pictures are written by hand; the others are printed. */
  readonly handwrittenShare: number;
  readonly onProgress?: (done: number) => void;
}

const PIXEL_SPEC = preprocessSchema.parse({ ...PREPROCESS, scale: 1 });
/** sharp works in threads of its own; this many pictures keep them busy. */
const IN_FLIGHT = 6;

export async function drawDataset(options: DatasetOptions): Promise<Dataset> {
  const { count, onProgress } = options;
  const pixels = new Uint8Array(count * PICTURE_VALUES);
  const labels = new Uint8Array(count);
  let next = 0;
  const draw = async () => {
    while (next < count) {
      const index = next++;
      const { digit, file } = await drawOne(options, index);
      const { data } = await preprocessImage(file, PIXEL_SPEC);
      pixels.set(data, index * PICTURE_VALUES);
      labels[index] = digit;
      if (index % 5000 === 0) onProgress?.(index);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, draw));
  return { pixels, labels };
}

export interface DrawnPicture {
  readonly digit: number;
  /** Undefined: written by hand. */
  readonly family: string | undefined;
  readonly file: Uint8Array;
}

/** Picture number `index` of a data set: depends on nothing but seed and index. */
export async function drawOne(options: DatasetOptions, index: number): Promise<DrawnPicture> {
  const random = seededRandom(options.seed * 1_000_003 + index);
  const digit = index % 10;
  const face = random() < options.handwrittenShare ? undefined : pickFace(random, options.faces);
  return { digit, family: face?.family, file: await drawPicture(random, digit, face) };
}

const families = new WeakMap<readonly Face[], Face[][]>();

/** First the family, then the face: a family of nine weights is not nine times as likely to be met. */
function pickFace(random: Random, faces: readonly Face[]): Face {
  let grouped = families.get(faces);
  if (grouped === undefined) {
    const names = [...new Set(faces.map((face) => face.family))];
    grouped = names.map((name) => faces.filter((face) => face.family === name));
    families.set(faces, grouped);
  }
  return pick(random, pick(random, grouped));
}
