/** JSON values ↔ the little-endian bytes of tensor elements. */

import { type Datatype, ELEMENT_BYTES } from "@legacygpu/shared/tensor";

/** Called for an element that does not fit; throws. */
export type Wrong = (element: unknown, index: number, what: string) => never;

export function encodeElements(datatype: Datatype, elements: readonly unknown[], wrong: Wrong): Uint8Array {
  if (datatype === "BYTES") return encodeText(elements, wrong);
  const bytes = new Uint8Array(elements.length * ELEMENT_BYTES[datatype]);
  const view = new DataView(bytes.buffer);
  const write = WRITERS[datatype];
  for (let i = 0; i < elements.length; i += 1) write(view, i, elements[i], wrong);
  return bytes;
}

function encodeText(elements: readonly unknown[], wrong: Wrong): Uint8Array {
  const parts: Buffer[] = [];
  for (const [i, element] of elements.entries()) {
    if (typeof element !== "string") wrong(element, i, "a string");
    const text = Buffer.from(element as string, "utf8");
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    parts.push(length, text);
  }
  return Buffer.concat(parts);
}

type Writer = (view: DataView, index: number, element: unknown, wrong: Wrong) => void;

function integer(
  min: number,
  max: number,
  write: (view: DataView, index: number, value: number) => void,
): Writer {
  return (view, index, element, wrong) => {
    if (typeof element === "bigint") wrong(element, index, `between ${min} and ${max}`);
    if (!Number.isInteger(element)) wrong(element, index, "an integer");
    const value = element as number;
    if (value < min || value > max) wrong(element, index, `between ${min} and ${max}`);
    write(view, index, value);
  };
}

function float(write: (view: DataView, index: number, value: number) => void): Writer {
  return (view, index, element, wrong) => {
    // A float may be written as a whole number with many digits.
    if (typeof element !== "number" && typeof element !== "bigint") wrong(element, index, "a number");
    write(view, index, Number(element));
  };
}

/** A number beyond 2^53 has already lost digits: only a bigint says what was written. */
function wide(
  min: bigint,
  max: bigint,
  write: (view: DataView, index: number, value: bigint) => void,
): Writer {
  return (view, index, element, wrong) => {
    const isExact = typeof element === "bigint" || Number.isSafeInteger(element);
    if (!isExact) wrong(element, index, "an integer");
    const value = BigInt(element as bigint | number);
    if (value < min || value > max) wrong(element, index, `between ${min} and ${max}`);
    write(view, index, value);
  };
}

const WRITERS: Readonly<Record<Exclude<Datatype, "BYTES">, Writer>> = {
  BOOL: (view, index, element, wrong) => {
    if (typeof element !== "boolean") wrong(element, index, "true or false");
    view.setUint8(index, element === true ? 1 : 0);
  },
  UINT8: integer(0, 0xff, (view, i, value) => view.setUint8(i, value)),
  UINT16: integer(0, 0xffff, (view, i, value) => view.setUint16(i * 2, value, true)),
  UINT32: integer(0, 0xffffffff, (view, i, value) => view.setUint32(i * 4, value, true)),
  UINT64: wide(0n, 2n ** 64n - 1n, (view, i, value) => view.setBigUint64(i * 8, value, true)),
  INT8: integer(-0x80, 0x7f, (view, i, value) => view.setInt8(i, value)),
  INT16: integer(-0x8000, 0x7fff, (view, i, value) => view.setInt16(i * 2, value, true)),
  INT32: integer(-0x80000000, 0x7fffffff, (view, i, value) => view.setInt32(i * 4, value, true)),
  INT64: wide(-(2n ** 63n), 2n ** 63n - 1n, (view, i, value) => view.setBigInt64(i * 8, value, true)),
  FP16: (_view, index, element, wrong) => wrong(element, index, "possible in JSON"),
  FP32: float((view, i, value) => view.setFloat32(i * 4, value, true)),
  FP64: float((view, i, value) => view.setFloat64(i * 8, value, true)),
};

/** An integer beyond 2^53 is a bigint. */
export type Element = number | bigint | boolean | string;

export function decodeElements(datatype: Datatype, data: Uint8Array, count: number): Element[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (datatype === "BYTES") return decodeText(view, data, count);
  const read = READERS[datatype];
  const out = new Array<Element>(count);
  for (let i = 0; i < count; i += 1) out[i] = read(view, i);
  return out;
}

function decodeText(view: DataView, data: Uint8Array, count: number): string[] {
  const out: string[] = [];
  for (let i = 0, offset = 0; i < count; i += 1) {
    const length = view.getUint32(offset, true);
    out.push(Buffer.from(data.buffer, data.byteOffset + offset + 4, length).toString("utf8"));
    offset += 4 + length;
  }
  return out;
}

const READERS: Readonly<Record<Exclude<Datatype, "BYTES">, (view: DataView, index: number) => Element>> = {
  BOOL: (view, i) => view.getUint8(i) !== 0,
  UINT8: (view, i) => view.getUint8(i),
  UINT16: (view, i) => view.getUint16(i * 2, true),
  UINT32: (view, i) => view.getUint32(i * 4, true),
  UINT64: (view, i) => narrow(view.getBigUint64(i * 8, true)),
  INT8: (view, i) => view.getInt8(i),
  INT16: (view, i) => view.getInt16(i * 2, true),
  INT32: (view, i) => view.getInt32(i * 4, true),
  INT64: (view, i) => narrow(view.getBigInt64(i * 8, true)),
  FP16: (view, i) => halfToNumber(view.getUint16(i * 2, true)),
  FP32: (view, i) => view.getFloat32(i * 4, true),
  FP64: (view, i) => view.getFloat64(i * 8, true),
};

function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** IEEE 754 binary16. */
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
