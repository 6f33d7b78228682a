/** What an ONNX file says about itself, read without running it. */

import { fail } from "@legacygpu/shared/errors";
import { datatypeOf, decodeModel, type OnnxModel, type OnnxValueInfo } from "@legacygpu/shared/onnx";
import type { TensorSpec } from "@legacygpu/shared/tensor";
import { contentsOf, type ModelContents } from "./contents.ts";
import { scanModel } from "./graph-scan.ts";
import { type ScanPolicy, shown } from "./scan-policy.ts";

export interface ModelInterface {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

export interface Inspection extends ModelInterface {
  readonly contents: ModelContents;
}

/** @throws `model_invalid`, with `details.reason` where the file could do harm. */
export function inspectModel(bytes: Uint8Array, policy: Partial<ScanPolicy> = {}): Inspection {
  const model = decodeModel(bytes);
  scanModel(model, policy);
  return describe(model);
}

/** Of a file that was accepted before, whatever the policy is now. @throws `model_invalid` */
export function describeAccepted(bytes: Uint8Array): Inspection {
  return describe(decodeModel(bytes));
}

function describe(model: OnnxModel): Inspection {
  const { graph } = model;
  // Old exporters list weights among the inputs as well.
  const weights = new Set(graph.initializer?.map(({ name }) => name));
  const inputs = (graph.input ?? []).filter(({ name }) => !weights.has(name));
  const outputs = graph.output ?? [];
  if (outputs.length === 0) throw fail("model_invalid", "The model has no output.");
  return {
    inputs: inputs.map((value) => toSpec(value, "input")),
    outputs: outputs.map((value) => toSpec(value, "output")),
    contents: contentsOf(model, {
      inputDimensions: inputs.map(dimensionsOf),
      outputDimensions: outputs.map(dimensionsOf),
    }),
  };
}

/** Whether a tensor of `actual` may be given where `declared` is asked for; -1 takes any size. */
export function fitsShape(declared: readonly number[], actual: readonly number[]): boolean {
  return (
    declared.length === actual.length &&
    declared.every((dimension, i) => dimension === -1 || dimension === actual[i])
  );
}

function toSpec({ name, type }: OnnxValueInfo, what: string): TensorSpec {
  const tensor = type?.tensorType;
  if (tensor === undefined) throw fail("model_invalid", `The ${what} ${shown(name)} is not a tensor.`);
  const datatype = datatypeOf(tensor.elemType ?? 0);
  if (datatype === undefined) {
    throw fail(
      "model_invalid",
      `The ${what} ${shown(name)} has an element type that cannot be served (${tensor.elemType}).`,
    );
  }
  const shape = (tensor.shape?.dim ?? []).map(({ dimValue }) =>
    dimValue !== undefined && dimValue > 0 ? dimValue : -1,
  );
  return { name, datatype, shape };
}

function dimensionsOf({ type }: OnnxValueInfo): (number | string | null)[] {
  return (type?.tensorType?.shape?.dim ?? []).map(({ dimValue, dimParam }) => {
    if (dimValue !== undefined && dimValue > 0) return dimValue;
    return dimParam === undefined || dimParam === "" ? null : dimParam;
  });
}
