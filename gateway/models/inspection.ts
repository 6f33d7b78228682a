/** What an ONNX file says about itself, read without running it. */

import { fail } from "@legacygpu/shared/errors";
import type { Manifest } from "@legacygpu/shared/manifest";
import { datatypeOf, decodeModel, type OnnxValueInfo } from "@legacygpu/shared/onnx";
import type { TensorSpec } from "@legacygpu/shared/tensor";
import { scanModel } from "./graph-scan.ts";
import type { ScanPolicy } from "./scan-policy.ts";

export interface ModelInterface {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

/** @throws `model_invalid`, with `details.reason` where the file could do harm. */
export function inspectModel(bytes: Uint8Array, policy: Partial<ScanPolicy> = {}): ModelInterface {
  const model = decodeModel(bytes);
  scanModel(model, policy);
  const { graph } = model;
  // Old exporters list weights among the inputs as well.
  const weights = new Set(graph.initializer?.map(({ name }) => name));
  const inputs = (graph.input ?? [])
    .filter(({ name }) => !weights.has(name))
    .map((value) => toSpec(value, "input"));
  const outputs = (graph.output ?? []).map((value) => toSpec(value, "output"));
  if (outputs.length === 0) throw fail("model_invalid", "The model has no output.");
  return { inputs, outputs };
}

/** @throws `model_invalid` when manifest and model contradict each other. */
export function checkManifest(manifest: Manifest, { inputs, outputs }: ModelInterface): void {
  const { preprocess, postprocess } = manifest;
  if (preprocess !== undefined) {
    const input = findTensor(inputs, preprocess.tensor, "preprocess.tensor", "input");
    const channels = preprocess.colors === "GRAY" ? 1 : 3;
    const { height, width } = preprocess;
    const shape = preprocess.layout === "NCHW" ? [1, channels, height, width] : [1, height, width, channels];
    if (!fitsShape(input.shape, shape)) {
      throw fail(
        "model_invalid",
        `The manifest's \`preprocess\` makes a tensor of shape [${shape}], but input '${input.name}' takes [${input.shape}].`,
        { path: "manifest.preprocess" },
      );
    }
    if (input.datatype !== "FP32") {
      throw fail(
        "model_invalid",
        `Pictures become FP32, but input '${input.name}' takes ${input.datatype}.`,
        {
          path: "manifest.preprocess",
        },
      );
    }
  }
  if (postprocess === undefined) return;
  const output = findTensor(outputs, postprocess.tensor, "postprocess.tensor", "output");
  const classes = output.shape.at(-1);
  if (
    postprocess.labels !== undefined &&
    classes !== undefined &&
    classes >= 0 &&
    classes !== postprocess.labels.length
  ) {
    throw fail(
      "model_invalid",
      `The manifest has ${postprocess.labels.length} labels, but output '${output.name}' has ${classes} classes.`,
      { path: "manifest.postprocess.labels" },
    );
  }
}

/** Whether a tensor of `actual` may be given where `declared` is asked for; -1 takes any size. */
export function fitsShape(declared: readonly number[], actual: readonly number[]): boolean {
  return (
    declared.length === actual.length &&
    declared.every((dimension, i) => dimension === -1 || dimension === actual[i])
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
  const names = specs.map((spec) => `'${spec.name}'`).join(", ");
  throw fail("model_invalid", `The manifest's \`${path}\` must name one ${what} of the model: ${names}.`, {
    path: `manifest.${path}`,
  });
}

function toSpec({ name, type }: OnnxValueInfo, what: string): TensorSpec {
  const tensor = type?.tensorType;
  if (tensor === undefined) throw fail("model_invalid", `The ${what} '${name}' is not a tensor.`);
  const datatype = datatypeOf(tensor.elemType ?? 0);
  if (datatype === undefined) {
    throw fail(
      "model_invalid",
      `The ${what} '${name}' has an element type that cannot be served (${tensor.elemType}).`,
    );
  }
  const shape = (tensor.shape?.dim ?? []).map(({ dimValue }) =>
    dimValue !== undefined && dimValue > 0 ? dimValue : -1,
  );
  return { name, datatype, shape };
}
