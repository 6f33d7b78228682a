/** Feeds mutants to one parser after the other: a process of its own, because a crash must be seen from outside. */

import { seededRandom } from "../../models/onnx/random.ts";
import { serveCommands } from "../processes/commands.ts";
import { measureMemory } from "../queue/memory.ts";
import { mutant } from "./mutate.ts";
import { isRefusal, PARSERS, type Parser, storeParser } from "./parsers.ts";

export interface FuzzOrder {
  readonly target: string;
  readonly seed: number;
  readonly inputs: number;
  /** For the target `store`: a good one. */
  readonly sound?: Uint8Array | undefined;
}

export interface FuzzResult {
  readonly inputs: number;
  readonly refused: number;
  /** What was neither taken nor refused in order: the message and the input that did it. */
  readonly faults: readonly string[];
  readonly slowestMs: number;
  /** After garbage has been collected. */
  readonly memoryBytes: number;
}

/** A fault is found once; a thousand copies of it tell nothing more. */
const MAX_FAULTS = 5;
const SHOWN_BYTES = 400;

let open: { readonly target: string; readonly parser: Parser } | undefined;

function parserOf({ target, sound }: FuzzOrder): Parser {
  if (open?.target === target) return open.parser;
  open?.parser.close?.();
  const make = PARSERS[target];
  const parser = sound === undefined ? make?.() : storeParser(sound);
  if (parser === undefined) throw new Error(`There is no target ${target}.`);
  open = { target, parser };
  return parser;
}

function feed(order: FuzzOrder): FuzzResult {
  const parser = parserOf(order);
  const random = seededRandom(order.seed);
  const faults: string[] = [];
  let refused = 0;
  let slowestMs = 0;
  for (let i = 0; i < order.inputs; i += 1) {
    const bytes = mutant(parser.corpus, random);
    const startedAt = performance.now();
    try {
      parser.feed(bytes);
    } catch (error) {
      refused += 1;
      if (!isRefusal(error) && faults.length < MAX_FAULTS) faults.push(described(error, bytes));
    }
    slowestMs = Math.max(slowestMs, performance.now() - startedAt);
  }
  return { inputs: order.inputs, refused, faults, slowestMs, memoryBytes: measureMemory().anonymousBytes };
}

function described(error: unknown, bytes: Uint8Array): string {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `${text.slice(0, 600)}\n  input: ${Buffer.from(bytes.subarray(0, SHOWN_BYTES)).toString("base64")}`;
}

serveCommands({ feed, close: () => open?.parser.close?.() });
