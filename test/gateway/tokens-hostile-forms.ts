/** Tokens with a signature of something else, and texts that are no tokens. */

import { partOf, plus, type Row, swapped } from "./tokens-loot.ts";
import { encode, forge } from "./tokens-rig.ts";

const flipBit = (part: string, at: number): string => {
  const bytes = Buffer.from(part, "base64url");
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes.toString("base64url");
};

export const SIGNATURES: readonly Row[] = [
  [
    "the scope raised after signing",
    "signature",
    ({ token, claims }) => swapped(token, 1, encode({ ...claims, scope: "admin" })),
  ],
  [
    "the end put off after signing",
    "signature",
    ({ token, claims }) => swapped(token, 1, encode({ ...claims, exp: Number(claims.exp) - 1 })),
  ],
  [
    "one bit of the signature turned",
    "signature",
    ({ token }) => swapped(token, 2, flipBit(partOf(token, 2), 10)),
  ],
  [
    "the last bit of the signature turned",
    "signature",
    ({ token }) => swapped(token, 2, flipBit(partOf(token, 2), 63)),
  ],
  ["a signature of zeros", "signature", ({ token }) => swapped(token, 2, encode(Buffer.alloc(64)))],
  ["half a signature", "signature", ({ token }) => swapped(token, 2, partOf(token, 2).slice(0, 40))],
  ["a signature of one byte", "signature", ({ token }) => swapped(token, 2, "AA")],
  [
    "a signature that is too long",
    "signature",
    ({ token }) =>
      swapped(token, 2, encode(Buffer.concat([Buffer.from(partOf(token, 2), "base64url"), Buffer.alloc(1)]))),
  ],
  [
    "the signature of another token",
    "signature",
    ({ token, withClaims }) => swapped(token, 2, partOf(withClaims({ jti: "other" }), 2)),
  ],
  [
    // S and S + L are the same scalar: RFC 8032 has verifiers refuse the larger.
    "the other form of the same signature",
    "signature",
    ({ token }) => swapped(token, 2, encode(secondForm(Buffer.from(partOf(token, 2), "base64url")))),
  ],
];

export const FORMS: readonly Row[] = [
  ["nothing", "not three parts", () => ""],
  ["two dots", "not three parts", () => ".."],
  ["one part", "not three parts", ({ token }) => partOf(token, 0)],
  ["two parts", "not three parts", ({ token }) => token.split(".").slice(0, 2).join(".")],
  ["an empty header", "not three parts", ({ token }) => swapped(token, 0, "")],
  ["an empty payload", "not three parts", ({ token }) => swapped(token, 1, "")],
  ["four parts", "not three parts", ({ token }) => `${token}.AAAA`],
  ["a dot at the end", "not three parts", ({ token }) => `${token}.`],
  ["a dot at the beginning", "not three parts", ({ token }) => `.${token}`],
  [
    "the five parts of an encrypted token",
    "not three parts",
    ({ token }) => `${encode({ alg: "dir", enc: "A256GCM" })}..${token.split(".").slice(1).join(".")}.AAAA`,
  ],
  [
    "JSON serialisation instead of compact",
    "encoding",
    ({ token }) =>
      JSON.stringify({
        protected: `.${partOf(token, 0)}`,
        payload: `.${partOf(token, 1)}`,
        signature: partOf(token, 2),
      }),
  ],
  ["padding", "encoding", ({ token }) => `${token}==`],
  ["padding in the header", "encoding", ({ token }) => swapped(token, 0, `${partOf(token, 0)}=`)],
  ["the alphabet of plain base64", "encoding", ({ token }) => swapped(token, 2, `${"+/".repeat(43)}`)],
  ["spare bits that are set", "encoding", ({ token }) => swapped(token, 2, withSpareBits(partOf(token, 2)))],
  [
    "a length that base64 cannot have",
    "encoding",
    ({ token }) => swapped(token, 2, `${partOf(token, 2)}AAA`),
  ],
  ["a space at the end", "encoding", ({ token }) => `${token} `],
  ["a line break in the payload", "encoding", ({ token }) => swapped(token, 1, `${partOf(token, 1)}\n`)],
  ["a letter of another alphabet", "encoding", ({ token }) => swapped(token, 2, `${partOf(token, 2)}é`)],
  ["a NUL", "encoding", ({ token }) => `${token}\u0000`],
  ["a header that is no JSON", "not a JSON object", ({ token }) => swapped(token, 0, encode("hello"))],
  ["half a header", "not a JSON object", ({ token }) => swapped(token, 0, partOf(token, 0).slice(0, 16))],
  ["a list as the header", "not a JSON object", ({ token, header }) => swapped(token, 0, encode([header]))],
  ["a list as the payload", "not a JSON object", ({ header, claims, key }) => forge(header, [claims], key)],
  ["text as the payload", "not a JSON object", ({ header, key }) => forge(header, '"key1"', key)],
  ["a number as the payload", "not a JSON object", ({ header, key }) => forge(header, "1", key)],
  ["null as the payload", "not a JSON object", ({ header, key }) => forge(header, "null", key)],
  ["an empty object as the payload", "issuer", ({ header, key }) => forge(header, {}, key)],
  ["a token as the payload", "not a JSON object", ({ header, key, token }) => forge(header, token, key)],
  [
    "JSON inside of text",
    "not a JSON object",
    ({ header, claims, key }) => forge(header, JSON.stringify(JSON.stringify(claims)), key),
  ],
  [
    "a byte order mark",
    "not a JSON object",
    ({ header, claims, key }) => forge(header, `\ufeff${JSON.stringify(claims)}`, key),
  ],
  [
    "a comment in the JSON",
    "not a JSON object",
    ({ header, claims, key }) => forge(header, `${JSON.stringify(claims)}//`, key),
  ],
  [
    "bytes that are no UTF-8",
    "encoding",
    ({ header, claims, key }) =>
      forge(header, Buffer.from(JSON.stringify({ ...claims, jti: "\u00ff" }), "latin1"), key),
  ],
  [
    "a thousand lists, one in the other",
    "claims",
    ({ header, claims, key }) => forge(header, plus(claims, `"x":${"[".repeat(500)}${"]".repeat(500)}`), key),
  ],
];

/** Of the six bits of the last character two belong to the 64 bytes, and four to nothing. */
function withSpareBits(signature: string): string {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  return signature.slice(0, -1) + letters[letters.indexOf(signature.slice(-1)) + 1];
}

function secondForm(signature: Buffer): Buffer {
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const scalar = Buffer.from(signature.subarray(32)).reverse();
  const larger = (BigInt(`0x${scalar.toString("hex")}`) + order).toString(16).padStart(64, "0");
  return Buffer.concat([signature.subarray(0, 32), Buffer.from(larger, "hex").reverse()]);
}
