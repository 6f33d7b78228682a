/** The manifest's form as a JSON Schema, for editors: the fields of manifest.ts with a sentence for each. */

import { z } from "zod";
import { manifestSchema } from "./manifest.ts";

/** By path. `docs/manifest.md` explains the same fields; a test holds the three together. */
export const MANIFEST_FIELDS: Readonly<Record<string, string>> = {
  $schema: "The address or path of this form, for editors. Not kept.",
  description: "What the model does, for people.",
  preprocess: "Makes the tensor from a picture, so that clients send picture files.",
  "preprocess.kind": "What clients send.",
  "preprocess.tensor": "The input that takes the picture. Default: the model's only input.",
  "preprocess.width": "Width of the tensor, pixels.",
  "preprocess.height": "Height of the tensor, pixels.",
  "preprocess.layout": "Order of the dimensions: channels before (NCHW) or behind (NHWC) height and width.",
  "preprocess.colors": "Order of the channels; GRAY has one.",
  "preprocess.fit":
    "fill: stretch; contain: keep the proportions and pad with the background; cover: keep the proportions and crop the centre.",
  "preprocess.background": "Colour behind transparent pixels and beside a contained picture, as #rrggbb.",
  "preprocess.scale": "Each value becomes (pixel × scale − mean) / std, with pixels from 0 to 255.",
  "preprocess.mean": "One number, or one for each channel.",
  "preprocess.std": "One number, or one for each channel.",
  postprocess: "Makes labels with scores from the model's numbers.",
  "postprocess.kind": "What clients get.",
  "postprocess.tensor": "The output that holds the scores. Default: the model's only output.",
  "postprocess.softmax": "Whether the scores are logits that need a softmax.",
  "postprocess.top_k": "How many labels clients get, the best first.",
  "postprocess.labels": "The name of each class, by index. Default: the index itself.",
  requirements: "What a worker must have to run the model.",
  "requirements.providers":
    "Execution providers that may run it, in the order of preference. Default: whatever the worker has, in its own order.",
  "requirements.min_vram_mb": "GPU memory that the model takes, MiB: it runs only on cards that have it.",
  batching:
    "Waiting tasks are run as one along the first dimension, which every input and output must leave open.",
  "batching.max_size": "Tasks in one run, at most.",
  "batching.max_delay_ms":
    "How long a task may wait for others that are on their way. A task that is alone never waits.",
  concurrency:
    "Runs of this model at a time on one worker, at most. Default: as many as the worker has slots.",
  idle_seconds:
    "Seconds without a task after which a worker forgets the loaded model. Default: it keeps it while there is room.",
  tolerance:
    "How far a provider's answer may be from the CPU's: |a − b| ≤ absolute + relative × |b| for every element.",
  "tolerance.absolute": "The absolute part.",
  "tolerance.relative": "The relative part.",
  golden: "Pictures with the label that the model must give for them; workers check it before they serve.",
  "golden[].image": "The picture, base64.",
  "golden[].label": "The label that must come first.",
  "golden[].min_score": "The least score that it must reach.",
};

const TITLE = "Manifest of a model in legacygpu";

/** What may be written, defaults left out. */
export function manifestJsonSchema(): Readonly<Record<string, unknown>> {
  const described = z.toJSONSchema(manifestSchema, {
    io: "input",
    override: ({ jsonSchema, path }) => {
      const description = MANIFEST_FIELDS[fieldOf(path)];
      // Of a choice between forms, only the whole is described.
      if (description !== undefined && !path.includes("anyOf")) jsonSchema.description = description;
    },
  });
  return { title: TITLE, ...described };
}

/** `properties, golden, items, properties, label` is `golden[].label`. */
function fieldOf(path: readonly (string | number)[]): string {
  let field = "";
  for (let i = 0; i < path.length; i += 1) {
    if (path[i] === "items") field += "[]";
    else if (path[i] === "properties") {
      i += 1;
      field += field === "" ? String(path[i]) : `.${path[i]}`;
    }
  }
  return field;
}
