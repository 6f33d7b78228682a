/** Whether a manifest fits its model: pictures, labels, examples, batches, requirements. Each error names the field and the tensor. */

import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { Manifest, Postprocess, Preprocess } from "@legacygpu/shared/manifest";
import type { TensorSpec } from "@legacygpu/shared/tensor";
import type { ModelContents } from "./contents.ts";
import { fitsShape, type ModelInterface } from "./inspection.ts";
import { shown } from "./scan-policy.ts";

const MIB = 1024 ** 2;

/** What a manifest is checked against; without `contents` the size of the weights is not. */
export interface ManifestSubject extends ModelInterface {
  readonly contents?: Pick<ModelContents, "parameterBytes"> | undefined;
}

/** @throws `model_invalid` when manifest and model contradict each other; `details.path` is the field. */
export function checkManifest(manifest: Manifest, model: ManifestSubject): void {
  if (manifest.preprocess !== undefined) checkPreprocess(manifest.preprocess, model);
  if (manifest.postprocess !== undefined) checkPostprocess(manifest.postprocess, model);
  checkGolden(manifest);
  checkBatching(manifest, model);
  checkRequirements(manifest, model);
}

function checkPreprocess(preprocess: Preprocess, { inputs }: ModelInterface): void {
  const input = findTensor(inputs, preprocess.tensor, "preprocess.tensor", "input");
  const channels = preprocess.colors === "GRAY" ? 1 : 3;
  const { height, width } = preprocess;
  const shape = preprocess.layout === "NCHW" ? [1, channels, height, width] : [1, height, width, channels];
  if (!fitsShape(input.shape, shape)) {
    throw misfit(
      "preprocess",
      `The manifest's \`preprocess\` makes a tensor of shape [${shape}], but input ${shown(input.name)} takes [${input.shape}].`,
    );
  }
  if (input.datatype !== "FP32") {
    throw misfit(
      "preprocess",
      `Pictures become FP32, but input ${shown(input.name)} takes ${input.datatype}.`,
    );
  }
}

function checkPostprocess({ tensor, labels }: Postprocess, { outputs }: ModelInterface): void {
  const output = findTensor(outputs, tensor, "postprocess.tensor", "output");
  const classes = output.shape.at(-1);
  if (labels === undefined || classes === undefined || classes < 0 || classes === labels.length) return;
  throw misfit(
    "postprocess.labels",
    `The manifest has ${labels.length} labels, but output ${shown(output.name)} has ${classes} classes.`,
  );
}

function checkGolden({ golden = [], preprocess, postprocess }: Manifest): void {
  if (golden.length === 0) return;
  if (preprocess === undefined || postprocess === undefined) {
    throw misfit(
      "golden",
      "The manifest's `golden` examples are pictures with labels: they need `preprocess` and `postprocess`.",
    );
  }
  const { labels } = postprocess;
  const at = golden.findIndex(({ label }) => labels !== undefined && !labels.includes(label));
  if (at === -1) return;
  throw misfit(
    `golden[${at}].label`,
    `The label ${shown(golden[at]?.label)} of \`golden[${at}]\` is none of the labels in \`postprocess.labels\`.`,
  );
}

/** Tasks are joined along the first dimension, so that each tensor must have one that may vary. */
function checkBatching({ batching }: Manifest, { inputs, outputs }: ModelInterface): void {
  if (batching === undefined || batching.max_size === 1) return;
  for (const [what, specs] of [
    ["input", inputs],
    ["output", outputs],
  ] as const) {
    const fixed = specs.find(({ shape }) => shape[0] !== -1);
    if (fixed === undefined) continue;
    throw misfit(
      "batching",
      `The manifest's \`batching\` needs a first dimension that may vary, but ${what} ${shown(fixed.name)} has the shape [${fixed.shape}]. Export the model with a variable batch dimension, or leave \`batching\` out.`,
    );
  }
}

function checkRequirements({ requirements }: Manifest, { contents }: ManifestSubject): void {
  if (requirements === undefined) return;
  const { providers = [], min_vram_mb: vram } = requirements;
  const twice = providers.findIndex((name, at) => providers.indexOf(name) !== at);
  if (twice !== -1) {
    throw misfit(
      `requirements.providers[${twice}]`,
      `The manifest's \`requirements.providers\` names ${providers[twice]} twice.`,
    );
  }
  if (vram === undefined) return;
  if (providers.length > 0 && providers.every((name) => name === "cpu")) {
    throw misfit(
      "requirements.min_vram_mb",
      "The manifest asks for GPU memory (`requirements.min_vram_mb`), but allows no provider except cpu.",
    );
  }
  const weightBytes = contents?.parameterBytes ?? 0;
  if (vram * MIB >= weightBytes) return;
  throw misfit(
    "requirements.min_vram_mb",
    `The manifest says that ${vram} MiB of GPU memory are enough, but the weights alone take ${Math.ceil(weightBytes / MIB)} MiB.`,
  );
}

function findTensor(
  specs: readonly TensorSpec[],
  name: string | undefined,
  path: string,
  what: string,
): TensorSpec {
  const found = name === undefined ? specs[0] : specs.find((spec) => spec.name === name);
  if (found !== undefined && (name !== undefined || specs.length === 1)) return found;
  const names = specs.map((spec) => shown(spec.name)).join(", ");
  throw misfit(path, `The manifest's \`${path}\` must name one ${what} of the model: ${names}.`);
}

function misfit(path: string, message: string): LegacyGpuError {
  return fail("model_invalid", message, { path: `manifest.${path}` });
}
