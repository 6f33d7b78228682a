/**
 * A look at the bytes of a protobuf message before it is decoded: whole, sensible, and not a small file that becomes a huge object.
 *
 * Stricter than the format. Parsers differ in what they make of a field that occurs twice or with the wrong wire type, and a file
 * that two of them read differently could show one model to whoever checks it and another to whoever runs it.
 */

import protobuf from "protobufjs/light.js";
import { fail, type LegacyGpuError } from "../errors.ts";

/**
 * What a decoded model may be made of. A node of two bytes becomes an object of a hundred; without a limit an upload of
 * 100 MB could ask for gigabytes and hold the event loop for minutes. Models seen in practice have less than 200,000.
 */
const MAX_FIELDS = 2_000_000;
/** Elements of packed arrays are cheaper than messages. */
const PACKED_BYTES_PER_FIELD = 8;
/** Of names; contents are `bytes`. */
const MAX_STRING_BYTES = 4096;

const WIRE_TYPE = { varint: 0, bits64: 1, lengthDelimited: 2, bits32: 5 } as const;
const SCALAR_WIRE_TYPES: Readonly<Record<string, number>> = {
  float: WIRE_TYPE.bits32,
  int32: WIRE_TYPE.varint,
  int64: WIRE_TYPE.varint,
};

/** @throws `model_invalid` with a reason; a RangeError where the bytes end too early. */
export function strictPass(type: protobuf.Type, bytes: Uint8Array): void {
  const reader = protobuf.Reader.create(bytes);
  passMessage(type, reader, reader.len, MAX_FIELDS, 0);
}

/** Recursion is bounded by the decoder's own limit. @returns what is left of the budget. */
function passMessage(
  type: protobuf.Type,
  reader: protobuf.Reader,
  end: number,
  budget: number,
  depth: number,
): number {
  if (depth > protobuf.Reader.recursionLimit) throw refused("nested_too_deep", "it is nested too deeply");
  let left = budget;
  let seen = 0;
  while (reader.pos < end) {
    const tag = reader.uint32();
    const wireType = tag & 7;
    const field = type.fieldsById[tag >>> 3];
    left -= 1;
    if (left < 0) throw refused("too_many_fields", `it has more than ${MAX_FIELDS} fields`);
    if (field === undefined) {
      skipUnknown(reader, tag);
      continue;
    }
    if (!field.repeated) {
      const bit = 1 << field.id;
      if ((seen & bit) !== 0)
        throw refused("repeated_field", `\`${field.name}\` of a ${type.name} is there twice`);
      seen |= bit;
    }
    left = passField(field, wireType, reader, end, left, depth);
  }
  if (reader.pos !== end) throw new RangeError(`index out of range: ${reader.pos} > ${end}`);
  return left;
}

function passField(
  field: protobuf.Field,
  wireType: number,
  reader: protobuf.Reader,
  end: number,
  budget: number,
  depth: number,
): number {
  const scalarType = SCALAR_WIRE_TYPES[field.type];
  if (scalarType !== undefined && wireType === scalarType) {
    reader.skipType(wireType);
    return budget;
  }
  const isPacked = scalarType !== undefined && field.repeated;
  if (wireType !== WIRE_TYPE.lengthDelimited || (scalarType !== undefined && !isPacked))
    throw refused("wire_type", `\`${field.name}\` has the wire type ${wireType}`);
  const length = reader.uint32();
  const valueEnd = reader.pos + length;
  if (valueEnd > end) throw new RangeError(`index out of range: ${valueEnd} > ${end}`);
  if (field.resolvedType instanceof protobuf.Type)
    return passMessage(field.resolvedType, reader, valueEnd, budget, depth + 1);
  if (field.type === "string" && length > MAX_STRING_BYTES)
    throw refused("string_too_long", `\`${field.name}\` has ${length} bytes, over ${MAX_STRING_BYTES}`);
  reader.pos = valueEnd;
  return isPacked ? budget - length / PACKED_BYTES_PER_FIELD : budget;
}

/** Later versions of the format may have more fields; groups it has none. */
function skipUnknown(reader: protobuf.Reader, tag: number): void {
  const wireType = tag & 7;
  if (tag >>> 3 === 0 || wireType === 3 || wireType === 4)
    throw refused("wire_type", `it has a field ${tag >>> 3} of the wire type ${wireType}`);
  reader.skipType(wireType);
}

function refused(reason: string, why: string): LegacyGpuError {
  return fail("model_invalid", `This is not an ONNX model that can be served: ${why}.`, { reason });
}
