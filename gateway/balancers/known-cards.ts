/**
 * Which graphics card a worker has, by the name that its driver gives it: family, memory and speed on paper, for cards that do not say themselves.
 *
 * Drivers write the same card in many ways ("AMD Radeon RX 580 Series (RADV POLARIS10)", "NVIDIA GeForce GTX 1070/PCIe/SSE2"), and some name
 * only the chip. Whatever the worker says or does itself is better than what is looked up here.
 */

import type { Gpu } from "@legacygpu/shared/protocol/messages";
import { CARD_FAMILIES, CARD_TABLE, type CardFamily, type CardRow, type CardVendor } from "./card-table.ts";

export { CARD_FAMILIES, type CardFamily } from "./card-table.ts";

const GIB = 1024 ** 3;
/** A card of which nothing is known, and a machine that computes on its CPU. */
const UNKNOWN_TFLOPS = 1;

export interface KnownCard {
  readonly vendor: CardVendor;
  readonly family: CardFamily;
  /** It is sold with one of these, the smallest first; none: it shares the machine's memory. */
  readonly vramVariantsBytes: readonly number[];
  /** FP32, on paper. */
  readonly tflops: number;
}

interface Named {
  readonly pattern: RegExp;
  readonly card: KnownCard;
}

interface Found {
  readonly card: KnownCard | undefined;
  readonly family: CardFamily | undefined;
}

const NAMED: readonly Named[] = CARD_TABLE.flatMap(({ vendor, family, cards }) =>
  cards.map((row) => named(vendor, family, row)),
);

/** Asked for every worker whenever a task looks for one, while what a worker has never changes. */
const found = new WeakMap<Gpu, Found>();

/** Undefined when the name is not in the table. Of a name that lists several cards the first. */
export function cardOf(gpu: Gpu): KnownCard | undefined {
  return find(gpu).card;
}

/** Also known of cards that are not in the table, when the driver names the chip. */
export function familyOf(gpu: Gpu): CardFamily | undefined {
  return find(gpu).family;
}

/**
 * What the worker says, else what the name says ("GTX 1060 3GB"), else the least that such a card is sold with. Undefined: nothing is known, or it
 * has no memory of its own.
 */
export function vramBytesOf(gpu: Gpu): number | undefined {
  if (gpu.vramBytes !== undefined) return gpu.vramBytes;
  const variants = cardOf(gpu)?.vramVariantsBytes ?? [];
  const written = Number(/(\d+) ?GB\b/i.exec(gpu.name)?.[1]) * GIB;
  return variants.find((variant) => variant === written) ?? variants[0];
}

/** On paper and compared with other cards, 1 for what is not known. For a guess before anything has been measured. */
export function relativeSpeed(gpu: Gpu): number {
  return cardOf(gpu)?.tflops ?? UNKNOWN_TFLOPS;
}

/** However it is written. */
export function familyNamed(given: string): CardFamily | undefined {
  const wanted = given.toLowerCase();
  return CARD_FAMILIES.find((family) => family.toLowerCase() === wanted);
}

function named(vendor: CardVendor, family: CardFamily, [name, tflops, ...gib]: CardRow): Named {
  const text = name.toLowerCase().replaceAll(" ", " ?");
  return {
    pattern: new RegExp(`(?<![a-z0-9])${text}(?![a-z0-9])`),
    card: { vendor, family, vramVariantsBytes: gib.map((size) => size * GIB), tflops },
  };
}

function find(gpu: Gpu): Found {
  const known = found.get(gpu);
  if (known !== undefined) return known;
  const name = plain(gpu.name);
  const card = cardNamed(name);
  const family = card?.family ?? CARD_TABLE.find(({ chips }) => chips?.test(name))?.family;
  const answer = { card, family };
  found.set(gpu, answer);
  return answer;
}

/** The name that stands first; of two that begin there the longer one: an RTX 2080 Ti is no RTX 2080. */
function cardNamed(name: string): KnownCard | undefined {
  let best: { readonly index: number; readonly length: number; readonly card: KnownCard } | undefined;
  for (const { pattern, card } of NAMED) {
    const match = pattern.exec(name);
    if (match === null) continue;
    const { index } = match;
    const { length } = match[0];
    if (best === undefined || index < best.index || (index === best.index && length > best.length))
      best = { index, length, card };
  }
  return best?.card;
}

/** In lower case, without the marks of lawyers and with single spaces. */
function plain(name: string): string {
  return name
    .toLowerCase()
    .replaceAll(/\((?:r|tm|c)\)|[®™]/g, "")
    .replaceAll(/\s+/g, " ");
}
