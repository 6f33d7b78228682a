/** Tensors as callers give them ↔ tensors on the wire, checked against what the model declares. */

import type { InferRequest, InferResponse } from "@legacygpu/shared/api/inference";
import { fail } from "@legacygpu/shared/errors";
import { elementCount, type Tensor, type TensorSpec } from "@legacygpu/shared/tensor";
import { fitsShape } from "../models/inspection.ts";
import { decodeElements, encodeElements } from "./elements.ts";
import { stringifyExactly } from "./exact-json.ts";
import { checkBytes } from "./tensor-bytes.ts";

/** As the protocol has it; deeper arrays are taken for elements, which they cannot be. */
const MAX_NESTING = 100;
const MAX_SHOWN = 100;

/** Who is told: the model's name in messages, and where in the request the tensors are. */
export interface Place {
  readonly model: string;
  /** Path of the inputs in the request, for instance `input.inputs`. */
  readonly path: string;
}

/** A tensor that somebody sends: its elements as JSON, or as the bytes that they are on the wire. */
export interface GivenTensor {
  readonly name: string;
  readonly datatype: string;
  readonly shape: number[];
  readonly data?: readonly unknown[] | null | undefined;
  readonly bytes?: Uint8Array | undefined;
}

/** @throws `input_invalid` with the path of the field. */
export function parseTensors(
  given: readonly GivenTensor[],
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
    const got = [...names].map((name) => `'${name}'`).join(", ");
    throw invalid(
      place,
      "",
      `expected ${specs.length} inputs but got ${given.length} inputs for model '${place.model}'. Got input(s) [${got}], but missing required input(s) [${missing.join(", ")}]`,
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

function parseTensor(given: GivenTensor, spec: TensorSpec, index: number, place: Place): Tensor {
  const { name, shape, bytes } = given;
  const { datatype } = spec;
  const at = `[${index}]`;
  if (given.datatype !== datatype) {
    const text = `inference input '${name}' data-type is '${given.datatype}', but model '${place.model}' expects '${datatype}'`;
    throw invalid(place, `${at}.datatype`, text);
  }
  if (!fitsShape(spec.shape, shape)) {
    const text = `unexpected shape for input '${name}' for model '${place.model}'. Expected [${spec.shape}], got [${shape}]`;
    throw invalid(place, `${at}.shape`, text);
  }
  if (bytes !== undefined) {
    const problem = checkBytes({ name, datatype, shape, data: bytes }, place.model);
    if (problem !== undefined) throw invalid(place, at, problem);
    return { name, datatype, shape, data: bytes };
  }
  if (datatype === "FP16") {
    const text = `receiving FP16 data via JSON is not supported. Please use the binary data format for input '${name}'`;
    throw invalid(place, `${at}.datatype`, text);
  }
  const elements = flatten(given.data ?? [], elementCount(shape));
  return { name, datatype, shape, data: encodeJson(elements, { name, datatype, shape }, at, place) };
}

function encodeJson(
  elements: readonly unknown[],
  { name, datatype, shape }: Pick<Tensor, "name" | "datatype" | "shape">,
  at: string,
  place: Place,
): Uint8Array {
  const count = elementCount(shape);
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
      `element ${i} of input '${name}' is ${shown(element)}, not ${what}`,
    );
  };
  return encodeElements(datatype, elements, wrong);
}

/** Of an element that is wrong: it may be anything, and as long as a request. */
function shown(element: unknown): string {
  const text = typeof element === "bigint" ? String(element) : stringifyExactly(element);
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`;
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
