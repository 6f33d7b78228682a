/** Recognises the picture files that workers decode, by their first bytes. Runs in a browser too. */

const ascii = (bytes: Uint8Array, from: number, to: number): string =>
  String.fromCharCode(...bytes.subarray(from, to));

const SIGNATURES: ReadonlyArray<readonly [type: string, matches: (bytes: Uint8Array) => boolean]> = [
  ["image/png", (bytes) => ascii(bytes, 0, 8) === "\x89PNG\r\n\x1a\n"],
  ["image/jpeg", (bytes) => bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff],
  ["image/webp", (bytes) => ascii(bytes, 0, 4) === "RIFF" && ascii(bytes, 8, 12) === "WEBP"],
  ["image/gif", (bytes) => ascii(bytes, 0, 4) === "GIF8"],
  ["image/tiff", (bytes) => ["II*\0", "MM\0*"].includes(ascii(bytes, 0, 4))],
  ["image/avif", (bytes) => ["ftypavif", "ftypavis"].includes(ascii(bytes, 4, 12))],
  ["image/svg+xml", (bytes) => /^\s*(<\?xml[^>]*>\s*)?<svg[\s>]/.test(ascii(bytes, 0, 256))],
];

/** The media type of a picture; undefined when the bytes are no picture that is known here. */
export function imageType(bytes: Uint8Array): string | undefined {
  return SIGNATURES.find(([, matches]) => matches(bytes))?.[0];
}
