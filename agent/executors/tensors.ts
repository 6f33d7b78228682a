/** Wire tensors ↔ ONNX Runtime's names and arrays, without copying where alignment allows. */

import { fail } from "@legacygpu/shared/errors";
import { type Datatype, ELEMENT_BYTES, elementCount, type Tensor } from "@legacygpu/shared/tensor";

type NumericArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array;
/** What ONNX Runtime takes and gives. */
export type TensorArray = NumericArray | string[];

interface NumericConstructor {
  new (buffer: ArrayBuffer, byteOffset: number, length: number): NumericArray;
}

const ENGINE_TYPES = {
  BOOL: ["bool", Uint8Array],
  UINT8: ["uint8", Uint8Array],
  UINT16: ["uint16", Uint16Array],
  UINT32: ["uint32", Uint32Array],
  UINT64: ["uint64", BigUint64Array],
  INT8: ["int8", Int8Array],
  INT16: ["int16", Int16Array],
  INT32: ["int32", Int32Array],
  INT64: ["int64", BigInt64Array],
  FP16: ["float16", Uint16Array],
  FP32: ["float32", Float32Array],
  FP64: ["float64", Float64Array],
} as const satisfies Record<Exclude<Datatype, "BYTES">, readonly [string, NumericConstructor]>;

export type EngineType = (typeof ENGINE_TYPES)[keyof typeof ENGINE_TYPES][0] | "string";

const DATATYPES = new Map<string, Datatype>([["string", "BYTES"]]);
for (const [datatype, [engineType]] of Object.entries(ENGINE_TYPES))
  DATATYPES.set(engineType, datatype as Datatype);

export function engineTypeOf(datatype: Datatype): EngineType {
  return datatype === "BYTES" ? "string" : ENGINE_TYPES[datatype][0];
}

/** Undefined for engine types that do not travel (int4). */
export function datatypeOf(engineType: string): Datatype | undefined {
  return DATATYPES.get(engineType);
}

/** @throws `input_invalid` when the bytes do not fill the shape. */
export function arrayOf(tensor: Tensor): TensorArray {
  const count = elementCount(tensor.shape);
  if (tensor.datatype === "BYTES") return decodeStrings(tensor, count);
  const [, ArrayType] = ENGINE_TYPES[tensor.datatype];
  const elementBytes = ELEMENT_BYTES[tensor.datatype];
  if (tensor.data.length !== count * elementBytes) {
    throw fail(
      "input_invalid",
      `Tensor \`${tensor.name}\` has ${tensor.data.length} bytes; its shape [${tensor.shape.join(", ")}] needs ${count * elementBytes}.`,
    );
  }
  const aligned = tensor.data.byteOffset % elementBytes === 0 ? tensor.data : Uint8Array.from(tensor.data);
  // Never a SharedArrayBuffer: the bytes come from a socket or were copied just now.
  return new ArrayType(aligned.buffer as ArrayBuffer, aligned.byteOffset, count);
}

/** The elements as numbers, 64-bit integers as BigInt. The datatype must not be BYTES. @throws `input_invalid` as {@link arrayOf}. */
export function numbersOf(tensor: Tensor): ArrayLike<number | bigint> {
  const array = arrayOf(tensor) as NumericArray;
  return tensor.datatype === "FP16" ? Float32Array.from(array as Uint16Array, halfToNumber) : array;
}

/** IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits. */
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

export function bytesOf(array: TensorArray): Uint8Array {
  if (Array.isArray(array)) return encodeStrings(array);
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function decodeStrings(tensor: Tensor, count: number): string[] {
  const bytes = Buffer.from(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength);
  const values: string[] = [];
  let offset = 0;
  while (offset + 4 <= bytes.length) {
    const end = offset + 4 + bytes.readUInt32LE(offset);
    if (end > bytes.length) break;
    values.push(bytes.toString("utf8", offset + 4, end));
    offset = end;
  }
  if (offset !== bytes.length || values.length !== count) {
    throw fail(
      "input_invalid",
      `Tensor \`${tensor.name}\` does not hold ${count} BYTES elements (each a uint32 length and its bytes).`,
    );
  }
  return values;
}

function encodeStrings(values: readonly string[]): Uint8Array {
  const parts: Buffer[] = [];
  for (const value of values) {
    const text = Buffer.from(value);
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32LE(text.length);
    parts.push(length, text);
  }
  return new Uint8Array(Buffer.concat(parts));
}
