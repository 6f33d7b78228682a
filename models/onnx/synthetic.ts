/** Small models for tests and benches, and a cache on disk for the large one. */

import { randomUUID } from "node:crypto";
import { mkdir, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Dimension, GraphBuilder } from "./graph-builder.ts";
import { Layers } from "./layers.ts";
import { seededRandom } from "./random.ts";
import { buildResnet50 } from "./resnet.ts";

export { buildResnet50 } from "./resnet.ts";

export interface IdentityOptions {
  /** Elements of one row; 16 make the 64-byte tensor of the benches. */
  readonly size?: number;
  /** Without a batch dimension, calls cannot be joined. */
  readonly isBatched?: boolean;
}

/** `input` to `output`, unchanged: FP32 [N, size] or [size]. */
export function buildIdentity({ size = 16, isBatched = true }: IdentityOptions = {}): Uint8Array {
  const graph = new GraphBuilder("identity");
  const shape: Dimension[] = isBatched ? ["N", size] : [size];
  graph.output("output", "FP32", shape, graph.node("Identity", [graph.input("input", "FP32", shape)]));
  return graph.encode();
}

export interface MlpOptions {
  /** The widths of the layers, from input to output. */
  readonly widths?: readonly number[];
  readonly seed?: number;
}

/** `input` FP32 [N, first width] to `output` FP32 [N, last width]. */
export function buildMlp({ widths = [64, 256, 256, 10], seed = 1 }: MlpOptions = {}): Uint8Array {
  const [first = 64, ...rest] = widths;
  const graph = new GraphBuilder("mlp");
  const layers = new Layers(graph, seededRandom(seed));
  let value = graph.input("input", "FP32", ["N", first]);
  let from = first;
  for (const [index, to] of rest.entries()) {
    value = layers.dense(index === 0 ? value : layers.relu(value), from, to);
    from = to;
  }
  graph.output("output", "FP32", ["N", from], value);
  return graph.encode();
}

export interface ConvnetOptions {
  /** Height and width of the picture. */
  readonly size?: number;
  readonly classes?: number;
  readonly seed?: number;
}

/** `input` FP32 [N, 3, size, size] to `scores` FP32 [N, classes], which sum to 1. */
export function buildConvnet({ size = 32, classes = 10, seed = 2 }: ConvnetOptions = {}): Uint8Array {
  const graph = new GraphBuilder("convnet");
  const layers = new Layers(graph, seededRandom(seed));
  let value = graph.input("input", "FP32", ["N", 3, size, size]);
  let from = 3;
  for (const to of [16, 32, 64]) {
    value = layers.relu(layers.batchNorm(layers.conv(value, { from, to, kernel: 3 }), to));
    value = layers.maxPool(value, 2, 2);
    from = to;
  }
  value = layers.dense(layers.globalAveragePool(value), from, classes);
  graph.output("scores", "FP32", ["N", classes], graph.node("Softmax", [value], { axis: 1 }));
  return graph.encode();
}

export interface WideConvnetOptions {
  /** Height and width of the picture. */
  readonly size?: number;
  /** Width of the dense layers. */
  readonly hidden?: number;
  readonly seed?: number;
}

/**
 * A few convolutions and a wide dense head, as convnets had before global pooling: for one picture the time goes into reading the head's
 * weights, which 16 pictures share. `input` FP32 [N, 3, size, size] to `scores` FP32 [N, 10].
 */
export function buildWideConvnet({ size = 8, hidden = 3072, seed = 5 }: WideConvnetOptions = {}): Uint8Array {
  const graph = new GraphBuilder("wide-convnet");
  const layers = new Layers(graph, seededRandom(seed));
  let value = graph.input("input", "FP32", ["N", 3, size, size]);
  let from = 3;
  for (const to of [16, 32]) {
    value = layers.relu(layers.batchNorm(layers.conv(value, { from, to, kernel: 3, stride: 2 }), to));
    from = to;
  }
  value = graph.node("Flatten", [value], { axis: 1 });
  from *= (size / 4) ** 2;
  for (const to of [hidden, hidden]) {
    value = layers.relu(layers.dense(value, from, to));
    from = to;
  }
  graph.output("scores", "FP32", ["N", 10], layers.dense(value, from, 10));
  return graph.encode();
}

const BUILDERS = {
  identity: () => buildIdentity(),
  mlp: () => buildMlp(),
  convnet: () => buildConvnet(),
  resnet50: () => buildResnet50(),
} as const;
export type SyntheticModel = keyof typeof BUILDERS;

const CACHE = fileURLToPath(new URL("../../.cache/models", import.meta.url));
/** Raise it when a builder changes, so that nobody runs yesterday's file. */
const REVISION = 1;

/** The path of the model's file, which is built when it is not there. Safe to call from several processes at once. */
export async function cachedModel(name: SyntheticModel, directory: string = CACHE): Promise<string> {
  const path = join(directory, `${name}-r${REVISION}.onnx`);
  const isThere = await stat(path).then(
    () => true,
    () => false,
  );
  if (isThere) return path;
  await mkdir(directory, { recursive: true });
  const unfinished = `${path}.${randomUUID()}`;
  await writeFile(unfinished, BUILDERS[name]());
  await rename(unfinished, path);
  return path;
}
