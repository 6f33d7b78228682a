/**
 * Writes msgpack field by field into memory that many values share: for records that are written tens of thousands of times a second a
 * general encoder is most of the cost. The lengths of texts may take more bytes than they need, which msgpack allows.
 */

import { encodeValue } from "@legacygpu/shared/protocol/codec";

const ARENA_BYTES = 256 * 1024;
const MAX_TEXT_HEADER_BYTES = 5;
const MAX_UTF8_BYTES = 3;
const NIL = 0xc0;

export class ValueWriter {
  #arena = Buffer.allocUnsafeSlow(ARENA_BYTES);
  #start = 0;
  #end = 0;

  /**
   * @param reservedBytes in front, for {@link finish}'s caller to fill.
   * @param expectedBytes of the rest, where it may be large: it is then not copied while it grows.
   */
  begin(reservedBytes: number, expectedBytes = 0): this {
    const sizeBytes = reservedBytes + expectedBytes;
    if (this.#end + sizeBytes > this.#arena.length) {
      this.#arena = Buffer.allocUnsafeSlow(Math.max(ARENA_BYTES, sizeBytes));
      this.#end = 0;
    }
    this.#start = this.#end;
    this.#end += reservedBytes;
    return this;
  }

  /** The value. Its memory is not used again. */
  finish(): Buffer {
    return this.#arena.subarray(this.#start, this.#end);
  }

  array(length: number): this {
    return this.#header(length, 0x90, 0xdc);
  }

  map(length: number): this {
    return this.#header(length, 0x80, 0xde);
  }

  nil(): this {
    this.#reserve(1);
    this.#arena[this.#end++] = NIL;
    return this;
  }

  number(value: number | undefined): this {
    if (value === undefined) return this.nil();
    this.#reserve(9);
    if (Number.isInteger(value) && value >= 0 && value <= 0xffffffff) this.#unsigned(value);
    else {
      this.#arena[this.#end] = 0xcb;
      this.#end = this.#arena.writeDoubleBE(value, this.#end + 1);
    }
    return this;
  }

  /** Text alone, no msgpack. @returns its length in bytes */
  plain(value: string): number {
    this.#reserve(value.length * MAX_UTF8_BYTES);
    const sizeBytes = this.#arena.write(value, this.#end, "utf8");
    this.#end += sizeBytes;
    return sizeBytes;
  }

  text(value: string | undefined): this {
    if (value === undefined) return this.nil();
    const maxBytes = value.length * MAX_UTF8_BYTES;
    this.#reserve(MAX_TEXT_HEADER_BYTES + maxBytes);
    const headerBytes = maxBytes <= 0xff ? 2 : maxBytes <= 0xffff ? 3 : MAX_TEXT_HEADER_BYTES;
    const sizeBytes = this.#arena.write(value, this.#end + headerBytes, "utf8");
    this.#sized(0xd9, headerBytes, sizeBytes);
    this.#end += sizeBytes;
    return this;
  }

  texts(values: readonly string[] | undefined): this {
    if (values === undefined) return this.nil();
    this.array(values.length);
    for (const value of values) this.text(value);
    return this;
  }

  binary(bytes: Uint8Array): this {
    this.#reserve(5 + bytes.length);
    this.#sized(0xc4, bytes.length <= 0xff ? 2 : bytes.length <= 0xffff ? 3 : 5, bytes.length);
    return this.raw(bytes);
  }

  /** Whatever msgpack can carry. */
  value(value: unknown): this {
    return value === undefined ? this.nil() : this.raw(encodeValue(value));
  }

  /** What is encoded already. */
  raw(bytes: Uint8Array): this {
    this.#reserve(bytes.length);
    this.#arena.set(bytes, this.#end);
    this.#end += bytes.length;
    return this;
  }

  #header(length: number, short: number, long: number): this {
    this.#reserve(3);
    if (length < 16) this.#arena[this.#end++] = short | length;
    else {
      this.#arena[this.#end] = long;
      this.#end = this.#arena.writeUInt16BE(length, this.#end + 1);
    }
    return this;
  }

  #unsigned(value: number): void {
    if (value < 0x80) this.#arena[this.#end++] = value;
    else {
      this.#arena[this.#end] = 0xce;
      this.#end = this.#arena.writeUInt32BE(value, this.#end + 1);
    }
  }

  /** @param first the type with a length of one byte; those of two and four bytes follow it. */
  #sized(first: number, headerBytes: number, length: number): void {
    if (headerBytes === 2) {
      this.#arena[this.#end] = first;
      this.#arena[this.#end + 1] = length;
    } else if (headerBytes === 3) {
      this.#arena[this.#end] = first + 1;
      this.#arena.writeUInt16BE(length, this.#end + 1);
    } else {
      this.#arena[this.#end] = first + 2;
      this.#arena.writeUInt32BE(length, this.#end + 1);
    }
    this.#end += headerBytes;
  }

  /** Makes room for more of the value that is being written; what is finished stays where it is. */
  #reserve(sizeBytes: number): void {
    if (this.#end + sizeBytes <= this.#arena.length) return;
    const written = this.#arena.subarray(this.#start, this.#end);
    const arena = Buffer.allocUnsafeSlow(Math.max(ARENA_BYTES, 2 * (written.length + sizeBytes)));
    arena.set(written);
    this.#arena = arena;
    this.#start = 0;
    this.#end = written.length;
  }
}
