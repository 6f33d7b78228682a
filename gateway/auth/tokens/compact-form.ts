/**
 * The text of a token taken apart, more strictly than the standards ask (RFC 7515, RFC 8725): one text for one meaning.
 *
 * What two parsers could read differently is refused before any key is looked up: encodings with spare bits, padding or white space,
 * bytes that are not UTF-8, members that occur twice.
 */

import { refused } from "./refusal.ts";

export const MAX_TOKEN_CHARS = 4096;

export type JsonObject = Readonly<Record<string, unknown>>;

/** Nothing in it is to be believed before the signature was checked. */
export interface CompactForm {
  readonly header: JsonObject;
  readonly claims: JsonObject;
}

/** @throws `auth_invalid` */
export function parseCompact(token: string): CompactForm {
  if (token.length > MAX_TOKEN_CHARS) throw refused("too large");
  const parts = token.split(".");
  const [header, claims, signature] = parts;
  if (!header || !claims || !signature || parts.length !== 3) throw refused("not three parts");
  decode(signature);
  return { header: parseObject(decode(header)), claims: parseObject(decode(claims)) };
}

/** Node skips what it does not know and ignores spare bits; only the canonical text comes back as it was. */
function decode(part: string): Buffer {
  const bytes = Buffer.from(part, "base64url");
  if (bytes.toString("base64url") !== part) throw refused("encoding");
  return bytes;
}

function parseObject(bytes: Buffer): JsonObject {
  const text = decodeUtf8(bytes);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw refused("not a JSON object");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw refused("not a JSON object");
  if (memberCount(value) !== colonCount(text)) throw refused("duplicate member");
  return value as JsonObject;
}

function decodeUtf8(bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw refused("encoding");
  }
}

const JSON_STRING = /"(?:[^"\\]|\\.)*"/gs;

/** Outside of strings a colon stands for exactly one member. */
function colonCount(json: string): number {
  return json.replace(JSON_STRING, "").split(":").length - 1;
}

/** Of two members with one name JSON.parse keeps the last, so that there are fewer than in the text. */
function memberCount(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  const own = Array.isArray(value) ? 0 : Object.keys(value).length;
  return Object.values(value).reduce<number>((count, inner) => count + memberCount(inner), own);
}
