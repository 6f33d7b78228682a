/**
 * The one line that lets a box join: where the gateway is, the CA by which it is recognised, and the secret that registers the box.
 *
 * `lgj_`, one character for the version, the contents in base 62, six characters of checksum: one word that survives a shell, a double
 * click and a chat window. The checksum is the same in every version, so that a damaged token is never taken for a newer one.
 */

import { hash, type X509Certificate } from "node:crypto";
import { crc32 } from "node:zlib";
import { z } from "zod";
import { fail } from "./errors.ts";

export interface JoinToken {
  /** `https://HOST:PORT` of the gateway. */
  readonly url: string;
  /** {@link pinOf} its CAs: two while they are being changed, none when it has its certificate from a CA that every system knows. */
  readonly pins: readonly string[];
  /** Bearer credential (`lgj_…`) for the enrolment. */
  readonly secret: string;
}

const PREFIX = "lgj_";
const VERSION = "1";
const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE = BigInt(ALPHABET.length);
const CHECKSUM_CHARS = 6;
/** Longer than any token: reading a number takes time that grows with the square of its length. */
const MAX_CHARS = 1024;
const FORM = /^lgj_([0-9A-Za-z])([0-9A-Za-z]*)([0-9A-Za-z]{6})$/;

const contentsSchema = z.object({
  url: z.string().refine(isOrigin),
  pins: z.array(z.string().regex(/^[\w-]{43}$/)).max(2),
  secret: z.string().regex(/^lgj_[0-9A-Za-z_]+$/),
});

/** @throws `join_token_malformed` when `token` is nothing that {@link decodeJoinToken} would give back. */
export function encodeJoinToken({ url, pins, secret }: JoinToken): string {
  if (!contentsSchema.safeParse({ url, pins, secret }).success) throw unreadable();
  const text = PREFIX + VERSION + toDigits([url, pins.join(","), secret].join("\n"));
  return text + checksum(text);
}

/** @throws `join_token_malformed`, saying what is wrong with `text` and nothing of what is in it. */
export function decodeJoinToken(text: string): JoinToken {
  const word = text.trim();
  const [, version, digits = "", check] = (word.length <= MAX_CHARS ? FORM.exec(word) : null) ?? [];
  if (version === undefined)
    throw malformed(
      "This is not a join token: one is a single word that begins with `lgj_`, as `legacygpu join-token create` prints it.",
    );
  if (checksum(word.slice(0, -CHECKSUM_CHARS)) !== check)
    throw malformed("The join token is damaged: a character is missing or wrong. Copy the whole line again.");
  if (version !== VERSION)
    throw malformed(
      `The join token has version ${version}, this program understands version ${VERSION}. Update legacygpu on this machine.`,
    );
  const [url, pins, secret, ...more] = fromDigits(digits).split("\n");
  const contents = contentsSchema.safeParse({ url, pins: pins?.split(",").filter(Boolean), secret });
  if (!contents.success || more.length > 0) throw unreadable();
  return contents.data;
}

/** How a CA is recognised: SHA-256 of its public key (SPKI), base64url. */
export function pinOf({ publicKey }: Pick<X509Certificate, "publicKey">): string {
  return hash("sha256", publicKey.export({ type: "spki", format: "der" }), "base64url");
}

function isOrigin(url: string): boolean {
  return URL.canParse(url) && new URL(url).protocol === "https:" && new URL(url).origin === url;
}

function unreadable(): Error {
  return malformed(
    "The join token does not hold the address of a gateway, its CA and a secret. Make a new one.",
  );
}

function malformed(message: string): Error {
  return fail("join_token_malformed", message);
}

/** The text as one large number: its first byte is never zero, so nothing of it is lost. */
function toDigits(text: string): string {
  let digits = "";
  for (let rest = BigInt(`0x${Buffer.from(text).toString("hex")}`); rest > 0n; rest /= BASE)
    digits = ALPHABET.charAt(Number(rest % BASE)) + digits;
  return digits;
}

function fromDigits(digits: string): string {
  let value = 0n;
  for (const digit of digits) value = value * BASE + BigInt(ALPHABET.indexOf(digit));
  const hex = value.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex").toString();
}

function checksum(text: string): string {
  let rest = crc32(text);
  let out = "";
  for (let i = 0; i < CHECKSUM_CHARS; i += 1) {
    out = ALPHABET.charAt(rest % ALPHABET.length) + out;
    rest = Math.floor(rest / ALPHABET.length);
  }
  return out;
}
