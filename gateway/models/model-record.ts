/** One version of a model as it is used, and as it is kept in the index. */

import type { ModelDetails, ModelJson } from "@legacygpu/shared/api/models";
import { digestSchema, type Manifest, modelNameSchema, modelVersionSchema } from "@legacygpu/shared/manifest";
import type { ModelRef } from "@legacygpu/shared/protocol/messages";
import { type TensorSpec, tensorSpecSchema } from "@legacygpu/shared/tensor";
import { z } from "zod";
import { contentsSchema, type ModelContents } from "./contents.ts";
import type { ModelInterface } from "./inspection.ts";

export interface Model extends ModelInterface {
  readonly ref: ModelRef;
  readonly manifest: Manifest;
  readonly createdAtMs: number;
  /** Absent when an earlier version of the gateway did not keep it and the file cannot be read any more. */
  readonly contents?: ModelContents | undefined;
}

export const modelRecordSchema = z.strictObject({
  name: modelNameSchema,
  version: modelVersionSchema,
  file: digestSchema,
  fileBytes: z.number(),
  manifest: digestSchema,
  inputs: z.array(tensorSpecSchema),
  outputs: z.array(tensorSpecSchema),
  createdAtMs: z.number(),
  contents: contentsSchema.optional(),
});
export type ModelRecord = z.infer<typeof modelRecordSchema>;

export function toModel(record: ModelRecord, manifest: Manifest): Model {
  const { name, version, file, fileBytes, inputs, outputs, createdAtMs, contents } = record;
  const ref = { name, version, file, fileBytes, manifest: record.manifest };
  return { ref, manifest, inputs, outputs, createdAtMs, contents };
}

export function toRecord({ ref, inputs, outputs, createdAtMs, contents }: Model): ModelRecord {
  return {
    ...ref,
    inputs: [...inputs],
    outputs: [...outputs],
    createdAtMs,
    ...(contents === undefined ? {} : { contents }),
  };
}

export function modelJson(model: Model, aliases: readonly string[]): ModelJson {
  const { ref, manifest, inputs, outputs, createdAtMs } = model;
  return {
    name: ref.name,
    version: ref.version,
    aliases: [...aliases],
    file: ref.file,
    size_bytes: ref.fileBytes,
    ...(manifest.description === undefined ? {} : { description: manifest.description }),
    inputs: [...inputs],
    outputs: [...outputs],
    accepts_images: manifest.preprocess !== undefined,
    created_at: new Date(createdAtMs).toISOString(),
  };
}

export function modelDetails(model: Model, aliases: readonly string[]): ModelDetails {
  const { ref, manifest, inputs, outputs, contents } = model;
  return {
    ...modelJson(model, aliases),
    inputs: described(inputs, contents?.inputDimensions),
    outputs: described(outputs, contents?.outputDimensions),
    manifest_digest: ref.manifest,
    manifest,
    ...(contents === undefined ? {} : { contents: contentsJson(contents) }),
  };
}

function described(
  specs: readonly TensorSpec[],
  dimensions: ModelContents["inputDimensions"] | undefined,
): ModelDetails["inputs"] {
  return specs.map((spec, i) => ({
    ...spec,
    dimensions: dimensions?.[i] ?? spec.shape.map((size) => (size === -1 ? null : size)),
  }));
}

function contentsJson(contents: ModelContents): NonNullable<ModelDetails["contents"]> {
  const { producer, irVersion, opsetImports, operators, nodeCount, parameterCount, parameterBytes } =
    contents;
  return {
    ...(producer === undefined ? {} : { producer }),
    ir_version: irVersion,
    opset_imports: opsetImports,
    operators,
    nodes: nodeCount,
    parameters: parameterCount,
    parameter_bytes: parameterBytes,
  };
}
