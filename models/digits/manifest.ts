/** What goes around the graph: the manifest's fixed part. */

import { type Manifest, manifestSchema } from "@legacygpu/shared/manifest";

/** Pixels of the model's square input. */
export const SIDE = 48;
export const LABELS: readonly string[] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/** Behind transparent pixels lies mid-grey, on which both black and white ink can be seen. */
export const PREPROCESS = {
  kind: "image",
  width: SIDE,
  height: SIDE,
  layout: "NCHW",
  colors: "RGB",
  fit: "contain",
  background: "#808080",
  scale: 1 / 255,
} as const;

export function digitsManifest(golden: Manifest["golden"] = []): Manifest {
  return manifestSchema.parse({
    description: "A digit from 0 to 9, printed or written by hand, in a picture of any size and colour.",
    preprocess: PREPROCESS,
    postprocess: { kind: "classification", softmax: true, top_k: 3, labels: LABELS },
    golden,
  });
}
