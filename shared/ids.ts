/** Identifiers: branded so that one kind cannot be passed for another, sortable by creation time. */

import { randomBytes } from "node:crypto";

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

export type TaskId = Branded<"TaskId">;
export type WorkerId = Branded<"WorkerId">;

/** Crockford's base 32 in lower case: no i, l, o, u. */
const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
const TIME_CHARS = 10;
const SEQUENCE_CHARS = 4;
const RANDOM_CHARS = 12;
const SEQUENCE_LIMIT = 32 ** SEQUENCE_CHARS;

/** Makes ids of 26 characters: milliseconds (a ULID's layout), a sequence within the millisecond, then 60 random bits. */
export class SortableIds {
  #lastMs = 0;
  #sequence = 0;

  /** Every id sorts after the ones made before it, also when the clock goes backwards. */
  next(nowMs: number): string {
    this.#sequence = nowMs > this.#lastMs ? 0 : this.#sequence + 1;
    this.#lastMs = Math.max(nowMs, this.#lastMs);
    if (this.#sequence === SEQUENCE_LIMIT) {
      this.#sequence = 0;
      this.#lastMs += 1;
    }
    return base32(this.#lastMs, TIME_CHARS) + base32(this.#sequence, SEQUENCE_CHARS) + this.#random();
  }

  nextTaskId(nowMs: number): TaskId {
    return `task_${this.next(nowMs)}` as TaskId;
  }

  #pool = Buffer.alloc(0);
  #poolOffset = 0;

  /** One call into the system's generator serves 256 ids: it costs more than all the rest of making one. */
  #random(): string {
    if (this.#poolOffset === this.#pool.length) {
      this.#pool = randomBytes(256 * RANDOM_CHARS);
      this.#poolOffset = 0;
    }
    let text = "";
    for (let i = 0; i < RANDOM_CHARS; i += 1)
      text += ALPHABET.charAt((this.#pool[this.#poolOffset + i] ?? 0) & 31);
    this.#poolOffset += RANDOM_CHARS;
    return text;
  }
}

/** When an id was made, in milliseconds since the epoch. @param id 26 characters, with or without a prefix that ends in `_` */
export function timeOfId(id: string): number {
  const digits = id.slice(id.lastIndexOf("_") + 1, id.lastIndexOf("_") + 1 + TIME_CHARS);
  let timeMs = 0;
  for (const digit of digits) timeMs = timeMs * 32 + ALPHABET.indexOf(digit);
  return timeMs;
}

function base32(value: number, length: number): string {
  let text = "";
  for (let rest = value, i = 0; i < length; i += 1) {
    text = ALPHABET.charAt(rest % 32) + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}
