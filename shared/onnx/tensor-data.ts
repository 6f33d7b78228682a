/** What is inside an ONNX tensor: how many elements it declares, how many it has, and small ones as numbers. */

import type { OnnxTensor } from "./model.ts";

/** ONNX's element types, as far as the checks need their names. */
export const STRING_ELEMENTS = 8;
const [FLOAT, INT32, INT64, DOUBLE] = [1, 6, 7, 11];
const [COMPLEX64, COMPLEX128] = [14, 15];

/** Bits of one element by element type; strings, which differ in length, count as nothing. */
const ELEMENT_BITS: Readonly<Record<number, number>> = {
  1: 32,
  2: 8,
  3: 8,
  4: 16,
  5: 16,
  6: 32,
  7: 64,
  8: 0,
  9: 8,
  10: 16,
  11: 64,
  12: 32,
  13: 64,
  14: 64,
  15: 128,
  16: 16,
  17: 8,
  18: 8,
  19: 8,
  20: 8,
  21: 4,
  22: 4,
  23: 4,
  24: 8,
  25: 2,
  26: 2,
};

/** Undefined for an element type that there is not. */
export function elementBits(elemType: number): number | undefined {
  return ELEMENT_BITS[elemType];
}

/** Infinity when it is beyond counting, undefined when a dimension is negative. */
export function declaredElements(dims: readonly number[]): number | undefined {
  if (dims.some((size) => !(size >= 0))) return undefined;
  // Zero times infinity is no number.
  if (dims.includes(0)) return 0;
  return dims.reduce((product, size) => product * size, 1);
}

/** How many bits of elements a tensor holds, whichever field they are in; undefined when they are in several. */
export function heldBits(tensor: OnnxTensor): number | undefined {
  const elemType = tensor.dataType ?? 0;
  const held: number[] = [];
  const add = (chunks: readonly Uint8Array[] | undefined, count: (bytes: Uint8Array) => number): void => {
    if (chunks !== undefined && chunks.length > 0)
      held.push(chunks.reduce((sum, bytes) => sum + count(bytes), 0));
  };
  const bits = elementBits(elemType) ?? 0;
  if (tensor.rawData !== undefined && tensor.rawData.length > 0) held.push(tensor.rawData.length * 8);
  // Sub-byte elements share an int32 as they would share a byte.
  const bitsPerInt32 = bits < 8 ? 8 : bits;
  add(tensor.floatData, (bytes) => (bytes.length / 4) * 32);
  add(tensor.doubleData, (bytes) => (bytes.length / 8) * 64);
  add(tensor.int32Data, (bytes) => countVarints(bytes) * bitsPerInt32);
  add(tensor.int64Data, (bytes) => countVarints(bytes) * 64);
  add(tensor.uint64Data, (bytes) => countVarints(bytes) * bits);
  return held.length > 1 ? undefined : (held[0] ?? 0);
}

/** Whether the typed field in use is the one of the element type; raw data fits all but strings. */
export function isInItsField(tensor: OnnxTensor): boolean {
  const elemType = tensor.dataType ?? 0;
  const isEmpty = (chunks: readonly Uint8Array[] | undefined): boolean => (chunks?.length ?? 0) === 0;
  const uint = elemType === 12 || elemType === 13;
  return (
    (isEmpty(tensor.floatData) || elemType === FLOAT || elemType === COMPLEX64) &&
    (isEmpty(tensor.doubleData) || elemType === DOUBLE || elemType === COMPLEX128) &&
    (isEmpty(tensor.int64Data) || elemType === INT64) &&
    (isEmpty(tensor.uint64Data) || uint) &&
    (isEmpty(tensor.stringData) || elemType === STRING_ELEMENTS) &&
    (isEmpty(tensor.int32Data) ||
      !(uint || [FLOAT, INT64, DOUBLE, COMPLEX64, COMPLEX128, STRING_ELEMENTS].includes(elemType))) &&
    (tensor.rawData === undefined || elemType !== STRING_ELEMENTS)
  );
}

/** The elements of a tensor of whole numbers or floats; none for other types. */
export function* numbersOf(tensor: OnnxTensor): Iterable<number> {
  const { dataType, rawData } = tensor;
  if (rawData !== undefined) {
    const view = new DataView(rawData.buffer, rawData.byteOffset, rawData.byteLength);
    const step = dataType === INT64 || dataType === DOUBLE ? 8 : 4;
    for (let at = 0; at + step <= rawData.length; at += step) {
      if (dataType === INT64) yield Number(view.getBigInt64(at, true));
      else if (dataType === INT32) yield view.getInt32(at, true);
      else if (dataType === FLOAT) yield view.getFloat32(at, true);
      else if (dataType === DOUBLE) yield view.getFloat64(at, true);
    }
    return;
  }
  for (const bytes of tensor.floatData ?? []) yield* numbersOf({ dataType: FLOAT, rawData: bytes });
  for (const bytes of tensor.doubleData ?? []) yield* numbersOf({ dataType: DOUBLE, rawData: bytes });
  for (const bytes of [...(tensor.int64Data ?? []), ...(tensor.int32Data ?? [])]) yield* varintsOf(bytes);
}

function countVarints(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) if (byte < 128) count += 1;
  return count;
}

/** Signed, as int64 fields are. */
function* varintsOf(bytes: Uint8Array): Iterable<number> {
  let start = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    if ((bytes[at] ?? 0) >= 128) continue;
    yield at === start ? (bytes[at] ?? 0) : longVarint(bytes.subarray(start, at + 1));
    start = at + 1;
  }
}

function longVarint(bytes: Uint8Array): number {
  let value = 0n;
  for (const [index, byte] of bytes.subarray(0, 10).entries())
    value |= BigInt(byte & 127) << BigInt(7 * index);
  return Number(BigInt.asIntN(64, value));
}
