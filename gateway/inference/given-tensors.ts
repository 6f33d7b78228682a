/** The inputs of a request, each with its elements: from the JSON part, or from the bytes behind it. */

import type { ProtocolRequest } from "@legacygpu/shared/api/inference";
import { fail } from "@legacygpu/shared/errors";
import type { GivenTensor } from "../tasks/tensor-json.ts";
import { notSupported } from "./refusal.ts";

type GivenInput = ProtocolRequest["inputs"][number];

/**
 * The bytes of the tensors stay where they are: what is returned are views.
 *
 * @throws `request_invalid`; a {@link Refusal} for shared memory and BF16
 */
export function givenTensors(
  inputs: readonly GivenInput[],
  binary: Buffer,
  model: string,
): readonly GivenTensor[] {
  let offset = 0;
  const tensors = inputs.map((input, index): GivenTensor => {
    const sizeBytes = binarySize(input, index);
    if (sizeBytes === undefined) return input;
    const missing = offset + sizeBytes - binary.length;
    if (missing > 0) {
      const text = `unexpected size for input '${input.name}', expecting ${missing} additional bytes for model '${model}'`;
      throw invalid(`inputs[${index}].parameters.binary_data_size`, text);
    }
    const bytes = binary.subarray(offset, offset + sizeBytes);
    offset += sizeBytes;
    return { name: input.name, datatype: input.datatype, shape: input.shape, bytes };
  });
  if (offset < binary.length)
    throw invalid("inputs", `unexpected additional input data for model '${model}'`);
  return tensors;
}

/** @returns undefined when its elements are in the JSON */
function binarySize({ name, datatype, data, parameters }: GivenInput, index: number): number | undefined {
  if (datatype === "BF16")
    throw notSupported(`input '${name}': BF16 is not supported by the engine; send FP32 or FP16`);
  const { binary_data_size: sizeBytes, shared_memory_region: region } = parameters ?? {};
  const hasData = data !== undefined && data !== null;
  const given = Number(hasData) + Number(sizeBytes !== undefined) + Number(region !== undefined);
  if (given !== 1) {
    throw invalid(
      `inputs[${index}]`,
      `Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', 'shared_memory_region' in 'parameters'. Input '${name}' sets ${given === 0 ? "none" : "more"} of them`,
    );
  }
  if (region !== undefined) throw notSupported("shared memory is not supported: clients are elsewhere");
  if (hasData) return undefined;
  if (typeof sizeBytes === "number" && Number.isSafeInteger(sizeBytes) && sizeBytes >= 0) return sizeBytes;
  throw invalid(`inputs[${index}].parameters.binary_data_size`, "Unable to parse 'binary_data_size'");
}

function invalid(path: string, text: string): Error {
  return fail("request_invalid", `${path}: ${text}`, { path });
}
