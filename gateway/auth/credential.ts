/**
 * The form of a credential: `lgk_<id>_<secret><checksum>` for clients, `lgw_…` for workers, `lgi_…` for the identity of an enrolled
 * worker, `lgj_…` for joining.
 *
 * The id is public and finds the record; the secret has 190 random bits; the checksum (CRC-32) lets a typing
 * error be told from a wrong key, and lets secret scanners reject look-alikes, without asking a gateway.
 */

import { hash, randomInt } from "node:crypto";
import { crc32 } from "node:zlib";

export type CredentialKind = "client" | "worker" | "identity" | "join";

const PREFIXES: Readonly<Record<CredentialKind, string>> = {
  client: "lgk",
  worker: "lgw",
  identity: "lgi",
  join: "lgj",
};
const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_CHARS = 10;
const SECRET_CHARS = 32;
const CHECKSUM_CHARS = 6;

/**
 * For secret scanners: finds every credential in any text; written so that every engine understands it. The last six characters of a find are
 * the checksum of what is before them (CRC-32 in base 62, most significant digit first): where it is wrong, the find is none.
 */
export const CREDENTIAL_PATTERN = /lg[kwij]_[0-9A-Za-z]{10}_[0-9A-Za-z]{38}/;
const FORM = new RegExp(`^${CREDENTIAL_PATTERN.source}$`);
/** After a prefix and its underscore. */
const ID_AT = 4;

export interface Credential {
  readonly id: string;
  /** The whole text, shown once and never stored. */
  readonly text: string;
  readonly hash: Buffer;
}

export function newCredential(kind: CredentialKind): Credential {
  const id = randomText(ID_CHARS);
  const unchecked = `${PREFIXES[kind]}_${id}_${randomText(SECRET_CHARS)}`;
  const text = unchecked + checksum(unchecked);
  return { id, text, hash: hashCredential(text) };
}

/** The public id in `text`, or undefined when it has not the form of a credential. */
export function credentialId(text: string): string | undefined {
  if (!FORM.test(text)) return undefined;
  const split = text.length - CHECKSUM_CHARS;
  return checksum(text.slice(0, split)) === text.slice(split)
    ? text.slice(ID_AT, ID_AT + ID_CHARS)
    : undefined;
}

/**
 * A plain hash is right here: slow password hashes protect guessable secrets, and this one has 190 random bits.
 */
export function hashCredential(text: string): Buffer {
  return hash("sha256", text, "buffer");
}

function randomText(length: number): string {
  let text = "";
  for (let i = 0; i < length; i += 1) text += ALPHABET.charAt(randomInt(ALPHABET.length));
  return text;
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
