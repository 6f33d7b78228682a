/** Makes bad input from good: the ways in which transmissions break and attackers bend. The same seed makes the same bytes. */

import { pick, type Random } from "../../models/onnx/random.ts";

/** Values at the edges of lengths, counts and signs. */
const EDGES = [0x00, 0x01, 0x0a, 0x0d, 0x20, 0x22, 0x2f, 0x7f, 0x80, 0xc1, 0xd9, 0xdd, 0xfe, 0xff];
const EDGE_WORDS = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];
const MAX_BYTES = 96 * 1024;

type Mutation = (bytes: Uint8Array, random: Random, corpus: readonly Uint8Array[]) => Uint8Array;

const flipBit: Mutation = (bytes, random) => {
  const at = below(random, bytes.length);
  return replaced(bytes, at, [(bytes[at] ?? 0) ^ (1 << below(random, 8))]);
};
const setEdge: Mutation = (bytes, random) =>
  replaced(bytes, below(random, bytes.length), [pick(random, EDGES)]);
const setAny: Mutation = (bytes, random) =>
  replaced(bytes, below(random, bytes.length), [below(random, 256)]);
/** A length or count, with either end first. */
const setWord: Mutation = (bytes, random) => {
  const word = pick(random, EDGE_WORDS);
  const four = [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255];
  return replaced(bytes, below(random, bytes.length), random() < 0.5 ? four : four.reverse());
};
const cut: Mutation = (bytes, random) => bytes.slice(0, below(random, bytes.length));
const remove: Mutation = (bytes, random) => {
  const [from, to] = span(bytes, random);
  return joined(bytes.subarray(0, from), bytes.subarray(to));
};
const repeat: Mutation = (bytes, random) => {
  const [from, to] = span(bytes, random);
  const times = 1 + below(random, random() < 0.05 ? 500 : 4);
  const part = bytes.subarray(from, to);
  return joined(bytes.subarray(0, to), ...Array.from({ length: times }, () => part), bytes.subarray(to));
};
const insert: Mutation = (bytes, random) => {
  const at = below(random, bytes.length + 1);
  const noise = Uint8Array.from({ length: 1 + below(random, 8) }, () => below(random, 256));
  return joined(bytes.subarray(0, at), noise, bytes.subarray(at));
};
/** The beginning of one, the end of another. */
const splice: Mutation = (bytes, random, corpus) => {
  const other = pick(random, corpus);
  return joined(
    bytes.subarray(0, below(random, bytes.length + 1)),
    other.subarray(below(random, other.length + 1)),
  );
};

const MUTATIONS: readonly Mutation[] = [
  flipBit,
  flipBit,
  setEdge,
  setAny,
  setWord,
  setWord,
  cut,
  remove,
  repeat,
  insert,
  splice,
];

/** One to four mutations of one of the corpus. */
export function mutant(corpus: readonly Uint8Array[], random: Random): Uint8Array {
  let bytes = pick(random, corpus);
  for (let left = 1 + below(random, 4); left > 0 && bytes.length > 0; left -= 1)
    bytes = pick(random, MUTATIONS)(bytes, random, corpus);
  return bytes.subarray(0, MAX_BYTES);
}

export const textCorpus = (texts: readonly string[]): Uint8Array[] => texts.map((text) => Buffer.from(text));

const below = (random: Random, limit: number): number => Math.floor(random() * limit);

function span(bytes: Uint8Array, random: Random): [from: number, to: number] {
  const from = below(random, bytes.length);
  return [from, Math.min(bytes.length, from + 1 + below(random, 64))];
}

function replaced(bytes: Uint8Array, at: number, values: readonly number[]): Uint8Array {
  const copy = Uint8Array.from(bytes);
  for (const [i, value] of values.entries()) if (at + i < copy.length) copy[at + i] = value;
  return copy;
}

const joined = (...parts: readonly Uint8Array[]): Uint8Array => Buffer.concat(parts);
