/** Tensors in JSON ↔ tensors on the wire, checked against what the model declares. */

import type { InferRequest, InferResponse, JsonTensor } from "@legacygpu/shared/api/tasks";
import { fail } from "@legacygpu/shared/errors";
import { elementCount, type Tensor, type TensorSpec } from "@legacygpu/shared/tensor";
import { fitsShape } from "../models/inspection.ts";
import { decodeElements, encodeElements } from "./elements.ts";

/** As the protocol has it; deeper arrays are taken for elements, which they cannot be. */
const MAX_NESTING = 100;

/** Who is told: the model's name in messages, and where in the request the tensors are. */
export interface Place {
  readonly model: string;
  /** Path of the inputs in the request, for instance `input.inputs`. */
  readonly path: string;
}

/** @throws `input_invalid` with the path of the field. */
export function parseTensors(
  given: readonly JsonTensor[],
  specs: readonly TensorSpec[],
  place: Place,
): Tensor[] {
  const names = new Set(given.map(({ name }) => name));
  const missing = specs.filter(({ name }) => !names.has(name)).map(({ name }) => `'${name}'`);
  if (names.size !== given.length) throw invalid(place, "", "An input is given twice.");
  given.forEach(({ name }, i) => {
    if (specs.some((spec) => spec.name === name)) return;
    const known = specs.map((spec) => `'${spec.name}'`).join(", ");
    throw invalid(
      place,
      `[${i}].name`,
      `unexpected inference input '${name}' for model '${place.model}'; it has ${known}`,
    );
  });
  if (missing.length > 0) {
    throw invalid(
      place,
      "",
      `expected ${specs.length} inputs but got ${given.length} inputs for model '${place.model}'; missing required input(s) ${missing.join(", ")}`,
    );
  }
  return given.map((tensor, i) =>
    parseTensor(tensor, specs.find(({ name }) => name === tensor.name) as TensorSpec, i, place),
  );
}

/** @throws `input_invalid` for a name that the model does not have. */
export function parseOutputs(
  outputs: InferRequest["outputs"],
  specs: readonly TensorSpec[],
  place: Place,
): string[] | undefined {
  return outputs?.map(({ name }, i) => {
    if (specs.some((spec) => spec.name === name)) return name;
    const path = place.path.replace(/inputs$/, "outputs");
    throw invalid(
      { ...place, path },
      `[${i}].name`,
      `unexpected inference output '${name}' for model '${place.model}'`,
    );
  });
}

export function tensorToJson({ name, datatype, shape, data }: Tensor): InferResponse["outputs"][number] {
  return { name, datatype, shape: [...shape], data: decodeElements(datatype, data, elementCount(shape)) };
}

function parseTensor(given: JsonTensor, spec: TensorSpec, index: number, place: Place): Tensor {
  const { name, datatype, shape, data } = given;
  const at = `[${index}]`;
  if (datatype !== spec.datatype) {
    const text = `inference input '${name}' data-type is '${datatype}', but model '${place.model}' expects '${spec.datatype}'`;
    throw invalid(place, `${at}.datatype`, text);
  }
  if (!fitsShape(spec.shape, shape)) {
    const text = `unexpected shape for input '${name}' for model '${place.model}'. Expected [${spec.shape}], got [${shape}]`;
    throw invalid(place, `${at}.shape`, text);
  }
  if (datatype === "FP16") {
    throw invalid(place, `${at}.datatype`, `receiving FP16 data via JSON is not supported (input '${name}')`);
  }
  const count = elementCount(shape);
  const elements = flatten(data, count);
  if (elements.length !== count) {
    const got = elements.length > count ? `more than ${count}` : `${elements.length}`;
    throw invalid(
      place,
      `${at}.data`,
      `input '${name}' needs ${count} elements for shape [${shape}], got ${got}`,
    );
  }
  const wrong = (element: unknown, i: number, what: string): never => {
    throw invalid(
      place,
      `${at}.data[${i}]`,
      `element ${i} of input '${name}' is ${JSON.stringify(element)}, not ${what}`,
    );
  };
  return { name, datatype, shape, data: encodeElements(datatype, elements, wrong) };
}

function invalid(place: Place, suffix: string, message: string): Error {
  const path = `${place.path}${suffix}`;
  return fail("input_invalid", `${path}: ${message}`, { path, model: place.model });
}

/** Nested arrays in any mix, in row-major order. Stops one past `limit`: a small shape with huge data costs nothing. */
function flatten(data: readonly unknown[], limit: number): unknown[] {
  if (!data.some(Array.isArray)) return data.length > limit ? data.slice(0, limit + 1) : [...data];
  const out: unknown[] = [];
  const visit = (values: readonly unknown[], depth: number): void => {
    for (const value of values) {
      if (out.length > limit) return;
      if (Array.isArray(value) && depth < MAX_NESTING) visit(value, depth + 1);
      else out.push(value);
    }
  };
  visit(data, 0);
  return out;
}
