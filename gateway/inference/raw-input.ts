/** The raw binary request: the whole body is the one input of the model, and its shape is what the model declares. */

import { fail } from "@legacygpu/shared/errors";
import { ELEMENT_BYTES, elementCount, type TensorSpec } from "@legacygpu/shared/tensor";
import type { Model } from "../models/catalogue.ts";
import type { GivenTensor } from "../tasks/tensor-json.ts";

/** @throws `request_invalid` when the model or the size leaves open what is meant */
export function rawTensor({ ref, manifest, inputs }: Model, body: Buffer): GivenTensor {
  const [spec] = inputs;
  if (spec === undefined || inputs.length !== 1) {
    const text = `raw binary request is only valid for a model with one input, and '${ref.name}' has ${inputs.length}`;
    throw fail("request_invalid", text, { model: ref.name });
  }
  // One request is a batch of one.
  const isBatched = manifest.batching !== undefined && spec.shape[0] === -1;
  const shape = isBatched ? [1, ...spec.shape.slice(1)] : [...spec.shape];
  return spec.datatype === "BYTES"
    ? rawText(spec, shape, body, ref.name)
    : rawNumbers(spec, shape, body, ref.name);
}

function rawText(
  { name, datatype }: TensorSpec,
  declared: number[],
  body: Buffer,
  model: string,
): GivenTensor {
  const shape = declared.map((dimension) => (dimension === -1 ? 1 : dimension));
  if (elementCount(shape) !== 1) {
    const text = `raw binary request: input '${name}' of model '${model}' takes more than one element, [${declared}]`;
    throw fail("request_invalid", text, { model });
  }
  const length = Buffer.alloc(4);
  length.writeUInt32LE(body.length);
  return { name, datatype, shape, bytes: Buffer.concat([length, body]) };
}

function rawNumbers(spec: TensorSpec, shape: number[], body: Buffer, model: string): GivenTensor {
  const { name, datatype } = spec;
  const variable = shape.filter((dimension) => dimension === -1).length;
  if (variable > 1) {
    const text = `raw binary request: the shape of input '${name}' of model '${model}', [${spec.shape}], cannot be deduced`;
    throw fail("request_invalid", text, { model });
  }
  if (variable === 1) {
    const rowBytes = -elementCount(shape) * ELEMENT_BYTES[datatype];
    const rows = rowBytes === 0 ? 0 : body.length / rowBytes;
    if (!Number.isInteger(rows)) {
      const text = `raw binary request: ${body.length} bytes for input '${name}' of model '${model}' are no multiple of ${rowBytes}`;
      throw fail("request_invalid", text, { model });
    }
    shape[shape.indexOf(-1)] = rows;
  }
  return { name, datatype, shape, bytes: body };
}
