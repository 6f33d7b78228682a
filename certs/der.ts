/** Writes the few kinds of DER values (X.690) that a certificate is made of. */

import { isIP } from "node:net";

export type Der = Buffer;

function value(tag: number, ...contents: readonly Uint8Array[]): Der {
  const body = Buffer.concat(contents);
  return Buffer.concat([Buffer.from([tag]), lengthOf(body.length), body]);
}

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest >>>= 8) bytes.unshift(rest & 0xff);
  return Buffer.from([0x80 | bytes.length, ...bytes]);
}

export const sequence = (...items: readonly Der[]): Der => value(0x30, ...items);
export const setOf = (...items: readonly Der[]): Der => value(0x31, ...items);
export const octetString = (bytes: Uint8Array): Der => value(0x04, bytes);
export const utf8String = (text: string): Der => value(0x0c, Buffer.from(text, "utf8"));
export const trueValue: Der = value(0x01, Buffer.from([0xff]));

/** A positive integer from its big-endian bytes. */
export function integer(bytes: Uint8Array): Der {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  const minimal = bytes.subarray(start);
  // A leading one bit would read as a minus sign.
  return (minimal[0] ?? 0) & 0x80 ? value(0x02, Buffer.from([0]), minimal) : value(0x02, minimal);
}

/** @param unusedBits how many of the last byte's low bits do not count. */
export function bitString(bytes: Uint8Array, unusedBits = 0): Der {
  return value(0x03, Buffer.from([unusedBits]), bytes);
}

export function objectId(dotted: string): Der {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) bytes.push(...base128(arc));
  return value(0x06, Buffer.from(bytes));
}

function base128(arc: number): number[] {
  const groups = [arc & 0x7f];
  for (let left = arc >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
  return groups;
}

/** UTCTime up to 2049, GeneralizedTime from 2050, as RFC 5280 section 4.1.2.5 asks. */
export function time(ms: number): Der {
  const digits = new Date(ms).toISOString().slice(0, 19).replace(/[-:T]/g, "");
  const isUtcTime = new Date(ms).getUTCFullYear() < 2050;
  return isUtcTime
    ? value(0x17, Buffer.from(`${digits.slice(2)}Z`, "ascii"))
    : value(0x18, Buffer.from(`${digits}Z`, "ascii"));
}

/** A value under a context-specific tag; `explicit` wraps whole values, `implicit` replaces the tag of bare bytes. */
export const explicit = (tag: number, ...items: readonly Der[]): Der => value(0xa0 | tag, ...items);
export const implicit = (tag: number, bytes: Uint8Array): Der => value(0x80 | tag, bytes);

/** The bytes of an IP address as a certificate holds them: 4 or 16. */
export function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split(".").map(Number));
  const [head = "", tail] = withoutDottedTail(address).split("::");
  const left = groupsOf(head);
  const right = tail === undefined ? [] : groupsOf(tail);
  const middle = tail === undefined ? [] : new Array<number>(8 - left.length - right.length).fill(0);
  return Buffer.from([...left, ...middle, ...right].flatMap((group) => [group >> 8, group & 0xff]));
}

function groupsOf(text: string): number[] {
  return text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
}

/** `::ffff:192.0.2.1` as `::ffff:c000:201`. */
function withoutDottedTail(address: string): string {
  const dotted = address.match(/[^:]+\.[^:]+$/)?.[0];
  if (dotted === undefined) return address;
  const [a = 0, b = 0, c = 0, d = 0] = dotted.split(".").map(Number);
  const groups = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  return address.slice(0, -dotted.length) + groups;
}
