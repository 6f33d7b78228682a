/** Harm that comes to files: flipped bits, lost ends. */

import { closeSync, openSync, readSync, statSync, truncateSync, writeSync } from "node:fs";
import type { Random } from "@legacygpu/shared/clock";

export const PAGE_BYTES = 4096;
/** Headers and pointers of a page, which LMDB trusts most. */
const STRUCTURE_BYTES = 90;
/** Of each of the first two pages. */
const HEADER_BYTES = 168;

/** @returns what was done to the file, for messages. */
export type Harm = (path: string, random: Random) => string;

export const flipRandomBit: Harm = (path, random) => flip(path, draw(random, statSync(path).size), random);

export const flipInStructure: Harm = (path, random) => {
  const page = draw(random, statSync(path).size / PAGE_BYTES);
  return flip(path, page * PAGE_BYTES + draw(random, STRUCTURE_BYTES), random);
};

export const flipInHeaders: Harm = (path, random) =>
  flip(path, draw(random, 2) * PAGE_BYTES + draw(random, HEADER_BYTES), random);

export const cutOff: Harm = (path, random) => {
  const length = draw(random, statSync(path).size);
  truncateSync(path, length);
  return `cut off after ${length} bytes`;
};

const draw = (random: Random, below: number): number => Math.floor(random() * below);

const flip = (path: string, at: number, random: Random): string =>
  flipBit(path, Math.floor(at / PAGE_BYTES), at % PAGE_BYTES, draw(random, 8));

/** @param at byte of the page */
export function flipBit(path: string, page: number, at: number, bit: number): string {
  const position = page * PAGE_BYTES + at;
  const byte = Buffer.alloc(1);
  const file = openSync(path, "r+");
  readSync(file, byte, 0, 1, position);
  byte[0] = (byte[0] ?? 0) ^ (1 << bit);
  writeSync(file, byte, 0, 1, position);
  closeSync(file);
  return `bit ${bit} of byte ${at} of page ${page}`;
}
