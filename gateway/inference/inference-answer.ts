/** The answer to an inference: a JSON part, and behind it the bytes of the outputs that are wanted as such. */

import type { InferResponse } from "@legacygpu/shared/api/inference";
import { fail } from "@legacygpu/shared/errors";
import type { TaskOutput } from "@legacygpu/shared/protocol/messages";
import type { Tensor } from "@legacygpu/shared/tensor";
import type { Model } from "../models/catalogue.ts";
import { stringifyExactly } from "../tasks/exact-json.ts";
import { inferResponse } from "../tasks/task-json.ts";
import { tensorToJson } from "../tasks/tensor-json.ts";
import { bestClasses } from "./classification.ts";
import type { WantedOutput } from "./wanted-outputs.ts";

export interface InferenceAnswer {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

/** Of an output whose elements follow as bytes. */
interface BinaryOutput extends Omit<InferResponse["outputs"][number], "data"> {
  readonly parameters: { readonly binary_data_size: number };
}

// As it is written in the protocol: one of its clients does not look past the case of letters.
const JSON_LENGTH = "Inference-Header-Content-Length";
const JSON_TYPE = { "content-type": "application/json" } as const;

export function inferenceAnswer(
  model: Model,
  output: TaskOutput,
  wanted: readonly WantedOutput[],
  id: string | null | undefined,
): InferenceAnswer {
  const binary: Uint8Array[] = [];
  const outputs = wanted.map((each): InferResponse["outputs"][number] | BinaryOutput => {
    const tensor = wantedTensor(output, each, model);
    if (!each.isBinary) return tensorToJson(tensor);
    const { name, datatype, shape, data } = tensor;
    binary.push(data);
    return { name, datatype, shape, parameters: { binary_data_size: data.length } };
  });
  const {
    id: ownId,
    model_name,
    model_version,
    predictions,
  } = inferResponse(
    model.ref,
    { kind: "output", tensors: [], ...(output.predictions && { predictions: output.predictions }) },
    id ?? undefined,
  );
  const json = stringifyExactly({ id: ownId, model_name, model_version, outputs, predictions });
  const binaryBytes = binary.reduce((sum, { length }) => sum + length, 0);
  if (binaryBytes === 0) return { headers: JSON_TYPE, body: json };
  const jsonBytes = Buffer.byteLength(json);
  const body = Buffer.allocUnsafe(jsonBytes + binaryBytes);
  body.write(json);
  let offset = jsonBytes;
  for (const bytes of binary) {
    body.set(bytes, offset);
    offset += bytes.length;
  }
  return {
    headers: { "content-type": "application/octet-stream", [JSON_LENGTH]: String(jsonBytes) },
    body,
  };
}

function wantedTensor({ tensors }: TaskOutput, { name, topClasses }: WantedOutput, model: Model): Tensor {
  const tensor = tensors.find((each) => each.name === name);
  if (tensor === undefined) throw fail("internal", `The worker has not given the output '${name}'.`);
  return topClasses === undefined ? tensor : bestClasses(tensor, topClasses, model);
}
