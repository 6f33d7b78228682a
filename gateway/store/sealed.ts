/**
 * Stored values with a seal, by which damage is found.
 *
 * One byte of version, four bytes of CRC-32 (big-endian, over table, key, version and contents), then the contents. Table and key are in the
 * checksum so that a value which turns up under another key is noticed.
 */

import { crc32 } from "node:zlib";
import { fail } from "@legacygpu/shared/errors";
import { decodeValue } from "@legacygpu/shared/protocol/codec";
import { z } from "zod";
import { crcOfByte, crcOfText } from "./crc.ts";

export const SEAL_BYTES = 5;

/** Where a value lies, for checksums and messages. */
export interface Place {
  readonly table: string;
  readonly key: string;
}

const prefixes = new Map<string, number>();

/** What the checksums of a table's values begin with. */
export function sealPrefix(table: string): number {
  let prefix = prefixes.get(table);
  if (prefix === undefined) {
    prefix = crcOfText(`${table}/`);
    prefixes.set(table, prefix);
  }
  return prefix;
}

/** Writes the seal before contents that are there already. */
export function seal({ table, key }: Place, bytes: Buffer, version: number): Buffer {
  bytes[0] = version;
  bytes.writeUInt32BE(checksum(bytes, 0, bytes.length, crcOfText(key, sealPrefix(table))), 1);
  return bytes;
}

/** @param prefix of the checksum: over table and key. */
export function isSealed(bytes: Buffer, start: number, end: number, prefix: number): boolean {
  return end - start >= SEAL_BYTES && bytes.readUInt32BE(start + 1) === checksum(bytes, start, end, prefix);
}

/** The contents, as a view. @throws `store_corrupt` */
export function unseal(place: Place, value: Uint8Array, version: number): Buffer {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  if (bytes.length < SEAL_BYTES) throw corrupt(place, `it has only ${bytes.length} bytes`);
  if (!isSealed(bytes, 0, bytes.length, crcOfText(place.key, sealPrefix(place.table))))
    throw corrupt(place, "its checksum is wrong");
  if (bytes[0] !== version) throw corrupt(place, `it has version ${bytes[0]}, and only ${version} is known`);
  return bytes.subarray(SEAL_BYTES);
}

/** What msgpack carries there, checked. @throws `store_corrupt` */
export function parseContents<T>(place: Place, contents: Uint8Array, schema: z.ZodType<T>): T {
  const parsed = schema.safeParse(decodeContents(place, contents));
  if (parsed.success) return parsed.data;
  throw corrupt(place, z.prettifyError(parsed.error));
}

/** @throws `store_corrupt` */
export function decodeContents(place: Place, contents: Uint8Array): unknown {
  try {
    // Not as a Buffer: its parts would be Buffers too, unlike those of the task that was accepted.
    return decodeValue(new Uint8Array(contents.buffer, contents.byteOffset, contents.length));
  } catch (error) {
    throw corrupt(place, (error as Error).message, error);
  }
}

export function corrupt(place: Place, what: string, cause?: unknown): Error {
  const key = printable(`${place.table}/${place.key}`);
  return fail("store_corrupt", `The stored record ${key} is damaged: ${what}.`, { key }, cause);
}

/** Keys have separators that no terminal shows. */
export const printable = (key: string): string => key.replaceAll("\0", " ");

function checksum(bytes: Buffer, start: number, end: number, prefix: number): number {
  return crc32(bytes.subarray(start + SEAL_BYTES, end), crcOfByte(bytes[start] as number, prefix));
}
