/** The network: for training as one step of Adam, for service as a plain graph with folded batch norms. */

import { GraphBuilder, type Value } from "../onnx/graph-builder.ts";
import { LABELS, SIDE } from "./manifest.ts";
import { ParameterLayout } from "./parameters.ts";
import { convPads, Tape } from "./tape.ts";

interface ConvLayer {
  readonly name: string;
  readonly from: number;
  readonly to: number;
  readonly kernel: number;
  readonly stride: number;
  readonly isPooled: boolean;
}

const LAYERS: readonly ConvLayer[] = [
  { name: "conv1", from: 3, to: 24, kernel: 5, stride: 2, isPooled: false },
  { name: "conv2", from: 24, to: 40, kernel: 3, stride: 1, isPooled: true },
  { name: "conv3", from: 40, to: 64, kernel: 3, stride: 1, isPooled: true },
  { name: "conv4", from: 64, to: 96, kernel: 3, stride: 1, isPooled: false },
  { name: "conv5", from: 96, to: 96, kernel: 3, stride: 1, isPooled: true },
];
/** 96 channels of 3 × 3. */
export const FEATURES = 96 * 9;
const CLASSES = LABELS.length;
const NORM_EPSILON = 1e-5;
/** Contrasts below this (of 1) are left as faint as they are: noise is not to become a picture. */
const LEAST_CONTRAST = 0.02;

const ADAM = { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.02 };

export const LAYOUT = new ParameterLayout();
for (const { name, from, to, kernel } of LAYERS) {
  LAYOUT.add(name, [to, from, kernel, kernel], { fanIn: from * kernel * kernel });
  LAYOUT.add(`${name}.norm.gain`, [1, to, 1, 1], { start: 1 });
  LAYOUT.add(`${name}.norm.bias`, [1, to, 1, 1]);
}
LAYOUT.add("dense", [FEATURES, CLASSES], { fanIn: FEATURES * 4 });
LAYOUT.add("dense.bias", [CLASSES]);

/** Mean 0 for each colour and deviation 1 for the picture: strong and faint ink look alike from here on. */
function normalised(graph: GraphBuilder, picture: Value): Value {
  const mean = graph.node("ReduceMean", [picture], { axes: [2, 3], keepdims: 1 });
  const centred = graph.node("Sub", [picture, mean]);
  const square = graph.node("Mul", [centred, centred]);
  const variance = graph.node("ReduceMean", [square], { axes: [1, 2, 3], keepdims: 1 });
  const floor = graph.fp32(Float32Array.of(LEAST_CONTRAST ** 2), [1]);
  return graph.node("Div", [centred, graph.node("Sqrt", [graph.node("Add", [variance, floor])])]);
}

/**
 * One step: pictures, targets (a share for each class), a mask for dropout, and the optimiser's state come in; scores,
 * new state and the batch norms' statistics (in the order of {@link statisticNames}) come out.
 */
export function buildTrainingStep(batch: number): Uint8Array {
  const graph = new GraphBuilder("step");
  const pictures = graph.input("pictures", "FP32", [batch, 3, SIDE, SIDE]);
  const targets = graph.input("targets", "FP32", [batch, CLASSES]);
  const mask = graph.input("mask", "FP32", [batch, FEATURES]);
  const tape = new Tape(graph, LAYOUT, graph.input("parameters", "FP32", [LAYOUT.count]));
  let value = normalised(graph, pictures);
  for (const layer of LAYERS) {
    value = tape.conv(value, layer, { isFirst: layer.from === 3 });
    value = tape.batchNorm(value, `${layer.name}.norm`);
    // The order of these two does not matter to the result; this one has less to do.
    value = tape.relu(layer.isPooled ? tape.maxPool(value) : value);
  }
  const scores = tape.dense(tape.flattenAndDrop(value, mask), "dense");
  const share = graph.node("Softmax", [scores], { axis: 1 });
  const error = graph.node("Sub", [share, targets]);
  const size = graph.fp32(Float32Array.of(batch), [1]);
  adam(graph, tape.gradient(graph.node("Div", [error, size])));
  graph.output("scores", "FP32", [batch, CLASSES], scores);
  for (const [name, statistic] of tape.statistics) {
    graph.output(name, "FP32", [1, "C", 1, 1], statistic);
  }
  return graph.encode();
}

export function statisticNames(): string[] {
  return LAYERS.flatMap(({ name }) => [`${name}.norm.mean`, `${name}.norm.variance`]);
}

/** Adam with decoupled weight decay; `rate` and the two corrections for the first steps come from outside. */
function adam(graph: GraphBuilder, gradient: Value): void {
  const vector = (name: string) => graph.input(name, "FP32", [LAYOUT.count]);
  const scalar = (name: string) => graph.input(name, "FP32", [1]);
  const constant = (value: number) => graph.fp32(Float32Array.of(value), [1]);
  const op = (type: string, ...inputs: Value[]) => graph.node(type, inputs);
  const average = (old: Value, fresh: Value, beta: number) =>
    op("Add", op("Mul", old, constant(beta)), op("Mul", fresh, constant(1 - beta)));
  const rate = scalar("rate");
  const first = average(vector("first"), gradient, ADAM.beta1);
  const second = average(vector("second"), op("Mul", gradient, gradient), ADAM.beta2);
  const deviation = op("Add", op("Sqrt", op("Div", second, scalar("correction2"))), constant(ADAM.epsilon));
  const move = op("Div", op("Div", first, scalar("correction1")), deviation);
  const decay = op("Mul", "parameters", constant(ADAM.weightDecay));
  const parameters = op("Sub", "parameters", op("Mul", op("Add", move, decay), rate));
  graph.output("next_parameters", "FP32", [LAYOUT.count], parameters);
  graph.output("next_first", "FP32", [LAYOUT.count], first);
  graph.output("next_second", "FP32", [LAYOUT.count], second);
}

export function adamCorrections(step: number): { correction1: number; correction2: number } {
  return { correction1: 1 - ADAM.beta1 ** step, correction2: 1 - ADAM.beta2 ** step };
}

/** `image` FP32 [N, 3, side, side] from 0 to 1, to `logits` FP32 [N, 10]. */
export function buildDigitsModel(
  parameters: Float32Array,
  statistics: ReadonlyMap<string, Float32Array>,
): Uint8Array {
  const graph = new GraphBuilder("digits");
  let value = normalised(graph, graph.input("image", "FP32", ["N", 3, SIDE, SIDE]));
  for (const layer of LAYERS) {
    const { weights, bias } = foldNorm(layer, parameters, statistics);
    const { to, from, kernel, stride } = layer;
    const inputs = [value, graph.fp32(weights, [to, from, kernel, kernel]), graph.fp32(bias, [to])];
    const attributes = {
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: convPads(kernel, stride),
    };
    value = graph.node("Relu", [graph.node("Conv", inputs, attributes)]);
    if (layer.isPooled) value = graph.node("MaxPool", [value], { kernel_shape: [2, 2], strides: [2, 2] });
  }
  const dense = graph.fp32(LAYOUT.view(parameters, "dense"), [FEATURES, CLASSES]);
  const bias = graph.fp32(LAYOUT.view(parameters, "dense.bias"), [CLASSES]);
  const flat = graph.node("Flatten", [value], { axis: 1 });
  const logits = graph.node("Gemm", [flat, dense, bias]);
  graph.output("logits", "FP32", ["N", CLASSES], logits);
  return graph.encode();
}

/** A batch norm with known statistics is part of the convolution before it. */
function foldNorm(
  { name, to }: ConvLayer,
  parameters: Float32Array,
  statistics: ReadonlyMap<string, Float32Array>,
): { weights: Float32Array; bias: Float32Array } {
  const weights = LAYOUT.view(parameters, name).slice();
  const perChannel = (values: Float32Array | undefined, channel: number) => values?.[channel] ?? 0;
  const [mean, variance] = [statistics.get(`${name}.norm.mean`), statistics.get(`${name}.norm.variance`)];
  const gain = LAYOUT.view(parameters, `${name}.norm.gain`);
  const bias = LAYOUT.view(parameters, `${name}.norm.bias`).slice();
  const size = weights.length / to;
  for (let channel = 0; channel < to; channel += 1) {
    const factor = perChannel(gain, channel) / Math.sqrt(perChannel(variance, channel) + NORM_EPSILON);
    for (let index = channel * size; index < (channel + 1) * size; index += 1) {
      weights[index] = (weights[index] ?? 0) * factor;
    }
    bias[channel] = perChannel(bias, channel) - perChannel(mean, channel) * factor;
  }
  return { weights, bias };
}
