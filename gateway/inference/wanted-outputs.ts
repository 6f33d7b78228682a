/** Which outputs a caller wants, and in which form each. */

import type { ProtocolRequest } from "@legacygpu/shared/api/inference";
import { fail } from "@legacygpu/shared/errors";
import type { TensorSpec } from "@legacygpu/shared/tensor";
import type { Model } from "../models/catalogue.ts";
import { notSupported } from "./refusal.ts";

export interface WantedOutput {
  readonly name: string;
  readonly isBinary: boolean;
  /** Instead of the scores: so many of the best classes. */
  readonly topClasses: number | undefined;
}

/**
 * @param isBinary of those that do not say so themselves
 * @returns all outputs of the model when none are named
 * @throws `input_invalid` for a name that the model does not have; `request_invalid`; a {@link Refusal} for shared memory
 */
export function wantedOutputs(
  given: ProtocolRequest["outputs"],
  { ref, outputs }: Pick<Model, "ref" | "outputs">,
  isBinary: boolean,
): WantedOutput[] {
  if (given === undefined || given === null || given.length === 0)
    return outputs.map((spec, index) =>
      checked(spec, { name: spec.name, isBinary, topClasses: undefined }, index),
    );
  const seen = new Set<string>();
  return given.map(({ name, parameters }, index) => {
    const spec = outputs.find((each) => each.name === name);
    if (spec === undefined) {
      const path = `outputs[${index}].name`;
      const text = `${path}: unexpected inference output '${name}' for model '${ref.name}'`;
      throw fail("input_invalid", text, { path, model: ref.name });
    }
    if (seen.has(name)) throw invalid(index, "name", `output '${name}' is asked for twice`);
    seen.add(name);
    return checked(spec, read(name, parameters ?? {}, isBinary, index), index);
  });
}

function read(
  name: string,
  parameters: Readonly<Record<string, unknown>>,
  isBinaryByDefault: boolean,
  index: number,
): WantedOutput {
  const { binary_data: isBinary = isBinaryByDefault, classification = 0 } = parameters;
  if (parameters.shared_memory_region !== undefined)
    throw notSupported("shared memory is not supported: clients are elsewhere");
  if (typeof isBinary !== "boolean")
    throw invalid(index, "parameters.binary_data", "Unable to parse 'binary_data': true or false");
  if (typeof classification !== "number" || !Number.isSafeInteger(classification) || classification < 0)
    throw invalid(index, "parameters.classification", "Unable to parse 'classification': a whole number");
  return { name, isBinary, topClasses: classification === 0 ? undefined : classification };
}

function checked({ datatype }: TensorSpec, wanted: WantedOutput, index: number): WantedOutput {
  const { name, isBinary, topClasses } = wanted;
  if (topClasses !== undefined && (datatype === "BYTES" || datatype === "BOOL"))
    throw invalid(index, "parameters.classification", `output '${name}' is ${datatype}, which has no scores`);
  if (datatype !== "FP16" || isBinary || topClasses !== undefined) return wanted;
  const text = `sending FP16 data via JSON is not supported. Please use the binary data format for output '${name}'`;
  throw invalid(index, "parameters.binary_data", text);
}

function invalid(index: number, field: string, text: string): Error {
  const path = `outputs[${index}].${field}`;
  return fail("request_invalid", `${path}: ${text}`, { path });
}
