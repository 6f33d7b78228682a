/** A model as the configuration and metadata of the protocol describe it, made from its file and its manifest. */

import type { Datatype, TensorSpec } from "@legacygpu/shared/tensor";
import type { Model } from "../models/catalogue.ts";

const PLATFORM = "onnxruntime_onnx";

interface ConfigTensor {
  readonly name: string;
  readonly data_type: string;
  readonly dims: readonly number[];
}

/** What is not so is left out: readers look at the mere presence of some keys. */
export interface ModelConfig {
  readonly name: string;
  readonly platform: string;
  readonly backend: string;
  readonly default_model_filename: string;
  /** 0: no batches. */
  readonly max_batch_size: number;
  readonly input: readonly ConfigTensor[];
  readonly output: readonly ConfigTensor[];
  readonly instance_group: readonly { readonly count: number; readonly kind: string }[];
  readonly dynamic_batching?: { readonly max_queue_delay_microseconds: number };
}

export interface ModelMetadata {
  readonly name: string;
  readonly versions: readonly string[];
  readonly platform: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

/** Shapes are whole: the first dimension of a model that batches is -1 in them. */
export function modelMetadata({ ref, inputs, outputs }: Model, versions: readonly Model[]): ModelMetadata {
  return {
    name: ref.name,
    versions: versions.map(({ ref: { version } }) => version),
    platform: PLATFORM,
    inputs: inputs.map(specOf),
    outputs: outputs.map(specOf),
  };
}

export function modelConfig({ ref, manifest, inputs, outputs }: Model): ModelConfig {
  const { batching, concurrency = 1 } = manifest;
  const tensorOf = ({ name, datatype, shape }: TensorSpec): ConfigTensor => ({
    name,
    data_type: typeName(datatype),
    // The batch dimension is what max_batch_size is about.
    dims: batching === undefined ? shape : shape.slice(1),
  });
  return {
    name: ref.name,
    platform: PLATFORM,
    backend: "onnxruntime",
    default_model_filename: "model.onnx",
    max_batch_size: batching?.max_size ?? 0,
    input: inputs.map(tensorOf),
    output: outputs.map(tensorOf),
    instance_group: [{ count: concurrency, kind: kindOf(manifest.requirements?.providers) }],
    ...(batching === undefined
      ? {}
      : { dynamic_batching: { max_queue_delay_microseconds: Math.round(batching.max_delay_ms * 1000) } }),
  };
}

function specOf({ name, datatype, shape }: TensorSpec): TensorSpec {
  return { name, datatype, shape };
}

function typeName(datatype: Datatype): string {
  return datatype === "BYTES" ? "TYPE_STRING" : `TYPE_${datatype}`;
}

function kindOf(providers: readonly string[] | undefined): string {
  if (providers === undefined) return "KIND_AUTO";
  return providers.includes("cpu") ? (providers.length === 1 ? "KIND_CPU" : "KIND_AUTO") : "KIND_GPU";
}
