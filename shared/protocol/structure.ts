/**
 * Walks over msgpack bytes without making anything of them, and finds what must not reach the decoder.
 *
 * A decoder sets memory aside for as many elements as a header promises: five bytes can promise four thousand million. After this walk every
 * promised element is known to be there, so what is decoded is never much larger than its bytes.
 * Source: the msgpack specification, section "Formats".
 */

/** Our messages need a dozen. */
const MAX_DEPTH = 64;

const FIX_MAP = 0x80;
const FIX_ARRAY = 0x90;
const FIX_STRING = 0xa0;
const NIL = 0xc0;
const NEGATIVE = 0xe0;

/**
 * What follows the markers from 0xc0 to 0xdf: the bytes of its length, its other bytes, and what the length counts.
 */
interface Format {
  readonly lengthBytes: 0 | 1 | 2 | 4;
  readonly fixedBytes: number;
  readonly counts: "bytes" | "elements" | "pairs";
}

const fixed = (fixedBytes: number): Format => ({ lengthBytes: 0, fixedBytes, counts: "bytes" });
const sized = (lengthBytes: 1 | 2 | 4, counts: Format["counts"], fixedBytes = 0): Format => ({
  lengthBytes,
  fixedBytes,
  counts,
});
/** Nobody may use it. */
const NEVER = undefined;

const FORMATS: readonly (Format | undefined)[] = [
  ...[fixed(0), NEVER, fixed(0), fixed(0)], // nil, -, false, true
  ...[sized(1, "bytes"), sized(2, "bytes"), sized(4, "bytes")], // bin
  ...[sized(1, "bytes", 1), sized(2, "bytes", 1), sized(4, "bytes", 1)], // ext: a type beside the data
  ...[fixed(4), fixed(8)], // float
  ...[fixed(1), fixed(2), fixed(4), fixed(8)], // uint
  ...[fixed(1), fixed(2), fixed(4), fixed(8)], // int
  ...[fixed(2), fixed(3), fixed(5), fixed(9), fixed(17)], // fixext
  ...[sized(1, "bytes"), sized(2, "bytes"), sized(4, "bytes")], // str
  ...[sized(2, "elements"), sized(4, "elements")], // array
  ...[sized(2, "pairs"), sized(4, "pairs")], // map
];

/** @returns what is wrong, or undefined: `bytes` are one whole value, nested no deeper than any message of ours. */
export function structureProblem(bytes: Uint8Array): string | undefined {
  return new Walk(bytes).run();
}

class Walk {
  readonly #bytes: Uint8Array;
  #at = 0;
  /** Values that are still to come, of each container that is open; first the one that all is. */
  readonly #missing = [1];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  run(): string | undefined {
    const missing = this.#missing;
    while (missing.length > 0) {
      const last = missing.length - 1;
      if (missing[last] === 0) {
        missing.pop();
        continue;
      }
      missing[last] = (missing[last] as number) - 1;
      const values = this.#value();
      if (values === undefined) return `byte ${this.#at} begins no value`;
      const leftBytes = this.#bytes.length - this.#at;
      if (leftBytes < values) return `it promises more than its ${this.#bytes.length} bytes can hold`;
      if (values === 0) continue;
      if (missing.length === MAX_DEPTH) return `it is nested more than ${MAX_DEPTH} deep`;
      missing.push(values);
    }
    return this.#at === this.#bytes.length ? undefined : "more follows after its end";
  }

  /** Steps over one value, or over the head of a container. @returns how many values it holds, undefined when it is none. */
  #value(): number | undefined {
    const marker = this.#bytes[this.#at];
    if (marker === undefined) return undefined;
    if (marker < FIX_MAP || marker >= NEGATIVE) return this.#step(1, 0);
    if (marker < FIX_ARRAY) return this.#step(1, 2 * (marker - FIX_MAP));
    if (marker < FIX_STRING) return this.#step(1, marker - FIX_ARRAY);
    if (marker < NIL) return this.#step(1 + marker - FIX_STRING, 0);
    const format = FORMATS[marker - NIL];
    if (format === undefined) return undefined;
    const { lengthBytes, fixedBytes, counts } = format;
    const length = this.#length(lengthBytes);
    if (counts === "bytes") return this.#step(1 + lengthBytes + fixedBytes + length, 0);
    return this.#step(1 + lengthBytes, counts === "pairs" ? 2 * length : length);
  }

  #length(lengthBytes: number): number {
    let length = 0;
    for (let i = 1; i <= lengthBytes; i += 1) length = length * 256 + (this.#bytes[this.#at + i] ?? 0);
    return length;
  }

  /** A step beyond the end shows as too few bytes left. */
  #step(sizeBytes: number, values: number): number {
    this.#at += sizeBytes;
    return values;
  }
}
