/** CRC-32 of keys: for so few bytes, the call into zlib costs more than the work. The results are the same, and each can go on with the other's. */

import { crc32 } from "node:zlib";

const POLYNOMIAL = 0xedb88320;
const TABLE = new Uint32Array(256).map((_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  return crc;
});

export function crcOfBytes(bytes: Uint8Array, start: number, end: number, seed = 0): number {
  let crc = ~seed;
  for (let i = start; i < end; i += 1)
    crc = (TABLE[(crc ^ (bytes[i] as number)) & 0xff] as number) ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Of the text as UTF-8. */
export function crcOfText(text: string, seed = 0): number {
  let crc = ~seed;
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return crc32(text, seed);
    crc = (TABLE[(crc ^ code) & 0xff] as number) ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

export function crcOfByte(byte: number, seed: number): number {
  const crc = ~seed;
  return ~((TABLE[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8)) >>> 0;
}
