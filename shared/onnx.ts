/**
 * Bytes ↔ ONNX models.
 *
 * Decoding copies no weights, so a model of 100 MB costs little more than its bytes.
 */

import protobuf from "protobufjs/light.js";
import { fail } from "./errors.ts";
import type { OnnxModel } from "./onnx/model.ts";
import { modelType } from "./onnx/schema.ts";

export * from "./onnx/model.ts";

export function encodeModel(model: OnnxModel): Uint8Array {
  return modelType.encode(model as object).finish();
}

/**
 * What a decoded model may be made of. A node of two bytes becomes an object of a hundred; without a limit an upload of
 * 100 MB could ask for gigabytes and hold the event loop for minutes. Models seen in practice have less than 200,000.
 */
const MAX_FIELDS = 2_000_000;
/** Elements of packed arrays are cheaper than messages. */
const PACKED_BYTES_PER_FIELD = 8;

function spendFields(
  type: protobuf.Type,
  reader: protobuf.Reader,
  end: number,
  budget: number,
  depth = 0,
): number {
  if (depth > protobuf.Reader.recursionLimit) throw new Error("it is nested too deeply");
  let left = budget;
  while (reader.pos < end) {
    const tag = reader.uint32();
    const field = type.fieldsById[tag >>> 3];
    if ((tag & 7) !== 2 || field === undefined) {
      reader.skipType(tag & 7);
      left -= 1;
    } else {
      const length = reader.uint32();
      const valueEnd = reader.pos + length;
      if (valueEnd > end) throw new RangeError(`index out of range: ${valueEnd} > ${end}`);
      left -= 1;
      if (field.resolvedType instanceof protobuf.Type) {
        left = spendFields(field.resolvedType, reader, valueEnd, left, depth + 1);
      } else if (field.repeated && field.type !== "string" && field.type !== "bytes") {
        left -= length / PACKED_BYTES_PER_FIELD;
      }
      reader.pos = valueEnd;
    }
    if (left < 0) throw new Error(`it has more than ${MAX_FIELDS} fields`);
  }
  return left;
}

/**
 * Reads untrusted bytes. Repeated fields of the result are always arrays; binary fields are views into `bytes`.
 * @throws `model_invalid` when they are no ONNX model.
 */
export function decodeModel(bytes: Uint8Array): OnnxModel {
  const model = decodeMessage(bytes);
  if (model.graph === undefined) throw fail("model_invalid", "This is not an ONNX model: it has no graph.");
  if (!(Number(model.irVersion) > 0))
    throw fail("model_invalid", "This is not an ONNX model: it has no IR version.");
  return model as OnnxModel;
}

function decodeMessage(bytes: Uint8Array): Partial<OnnxModel> {
  try {
    const reader = protobuf.Reader.create(bytes);
    spendFields(modelType, reader, reader.len, MAX_FIELDS);
    return modelType.toObject(modelType.decode(bytes), { longs: Number, arrays: true });
  } catch (error) {
    throw fail("model_invalid", `This is not an ONNX model: ${(error as Error).message}.`, {}, error);
  }
}
