/**
 * Layers with gradients, as ONNX nodes: the forward pass is written down together with what the way back will need, so that
 * onnxruntime runs whole training steps at its full speed.
 */

import { float, type GraphBuilder, type Value } from "../onnx/graph-builder.ts";
import type { ParameterLayout } from "./parameters.ts";

const EPSILON = 1e-5;
/** Batch and space: everything but the channels. */
const ALL_BUT_CHANNELS = [0, 2, 3];

export interface ConvOptions {
  readonly name: string;
  readonly kernel: number;
  readonly stride: number;
}

export class Tape {
  readonly graph: GraphBuilder;
  /** Means and variances of the batch norms, by their names. */
  readonly statistics = new Map<string, Value>();
  readonly #layout: ParameterLayout;
  readonly #parameters = new Map<string, Value>();
  readonly #gradients = new Map<string, Value>();
  /** From the last layer to the first: the gradient of a layer's output to that of its input. */
  readonly #backward: ((gradient: Value) => Value | undefined)[] = [];

  /** `parameters` holds all weights, one after the other, as `layout` says. */
  constructor(graph: GraphBuilder, layout: ParameterLayout, parameters: Value) {
    this.graph = graph;
    this.#layout = layout;
    for (const { name, offset, count, shape } of layout.entries) {
      const [start, end] = [graph.int64([offset]), graph.int64([offset + count])];
      const slice = graph.node("Slice", [parameters, start, end, graph.int64([0])]);
      this.#parameters.set(name, graph.node("Reshape", [slice, graph.int64(shape)]));
    }
  }

  /** The gradient of all parameters, given that of the last layer's output. */
  gradient(ofOutput: Value): Value {
    let gradient: Value | undefined = ofOutput;
    for (const step of this.#backward.toReversed()) {
      if (gradient !== undefined) gradient = step(gradient);
    }
    const flat = this.#layout.entries.map(({ name }) =>
      this.graph.node("Reshape", [this.#found(this.#gradients, name), this.graph.int64([-1])]),
    );
    return this.graph.node("Concat", flat, { axis: 0 });
  }

  /** Without bias: a batchNorm follows. The first layer's input needs no gradient. */
  conv(input: Value, { name, kernel, stride }: ConvOptions, { isFirst = false } = {}): Value {
    const weights = this.#found(this.#parameters, name);
    const pads = convPads(kernel, stride);
    const attributes = { kernel_shape: [kernel, kernel], strides: [stride, stride], pads };
    this.#backward.push((gradient) => {
      // A convolution of inputs with gradients, with the batch in the place of the channels.
      const [channels, batch] = [this.#batchToChannels(input), this.#batchToChannels(gradient)];
      const product = this.graph.node("Conv", [channels, batch], { pads, dilations: [stride, stride] });
      this.#gradients.set(name, this.#batchToChannels(product));
      return isFirst ? undefined : this.graph.node("ConvTranspose", [gradient, weights], attributes);
    });
    return this.graph.node("Conv", [input, weights], attributes);
  }

  batchNorm(input: Value, name: string): Value {
    const g = this.graph;
    const gain = this.#found(this.#parameters, `${name}.gain`);
    const mean = this.#channelMean(input);
    const centred = g.node("Sub", [input, mean]);
    const variance = this.#channelMean(g.node("Mul", [centred, centred]));
    this.statistics.set(`${name}.mean`, mean).set(`${name}.variance`, variance);
    const deviation = g.node("Sqrt", [g.node("Add", [variance, this.#scalar(EPSILON)])]);
    const normal = g.node("Div", [centred, deviation]);
    this.#backward.push((gradient) => {
      const along = this.#channelMean(g.node("Mul", [gradient, normal]));
      const mean = this.#channelMean(gradient);
      const perChannel = this.#pixelCount(gradient);
      this.#gradients.set(`${name}.gain`, g.node("Mul", [along, perChannel]));
      this.#gradients.set(`${name}.bias`, g.node("Mul", [mean, perChannel]));
      const rest = g.node("Sub", [g.node("Sub", [gradient, mean]), g.node("Mul", [normal, along])]);
      return g.node("Mul", [rest, g.node("Div", [gain, deviation])]);
    });
    return g.node("Add", [g.node("Mul", [normal, gain]), this.#found(this.#parameters, `${name}.bias`)]);
  }

  relu(input: Value): Value {
    const output = this.graph.node("Relu", [input]);
    this.#backward.push((gradient) => {
      return this.graph.node("Mul", [gradient, this.graph.node("Sign", [output])]);
    });
    return output;
  }

  /** Halves height and width. */
  maxPool(input: Value): Value {
    const attributes = { kernel_shape: [2, 2], strides: [2, 2] };
    const [output = "", indices = ""] = this.graph.nodes("MaxPool", [input], 2, attributes);
    this.#backward.push((gradient) => {
      const shape = this.graph.node("Shape", [input]);
      return this.graph.node("MaxUnpool", [gradient, indices, shape], attributes);
    });
    return output;
  }

  /** Multiplies with random zeros and ones, and makes rows of what comes out: [N, C, H, W] to [N, C × H × W]. */
  flattenAndDrop(input: Value, mask: Value): Value {
    const flat = this.graph.node("Flatten", [input], { axis: 1 });
    this.#backward.push((gradient) => {
      const kept = this.graph.node("Mul", [gradient, mask]);
      return this.graph.node("Reshape", [kept, this.graph.node("Shape", [input])]);
    });
    return this.graph.node("Mul", [flat, mask]);
  }

  dense(input: Value, name: string): Value {
    const weights = this.#found(this.#parameters, name);
    this.#backward.push((gradient) => {
      this.#gradients.set(name, this.graph.node("Gemm", [input, gradient], { transA: 1 }));
      this.#gradients.set(`${name}.bias`, this.#sum(gradient, [0]));
      return this.graph.node("Gemm", [gradient, weights], { transB: 1 });
    });
    return this.graph.node("Gemm", [input, weights, this.#found(this.#parameters, `${name}.bias`)]);
  }

  #channelMean(input: Value): Value {
    return this.graph.node("ReduceMean", [input], { axes: ALL_BUT_CHANNELS, keepdims: 1 });
  }

  #pixelCount(input: Value): Value {
    const g = this.graph;
    const sizes = g.node("Gather", [g.node("Shape", [input]), g.int64(ALL_BUT_CHANNELS)]);
    return g.node("Cast", [g.node("ReduceProd", [sizes], { keepdims: 0 })], { to: 1 });
  }

  #sum(input: Value, axes: readonly number[]): Value {
    return this.graph.node("ReduceSum", [input, this.graph.int64(axes)], { keepdims: 0 });
  }

  #batchToChannels(input: Value): Value {
    return this.graph.node("Transpose", [input], { perm: [1, 0, 2, 3] });
  }

  #scalar(value: number): Value {
    return this.graph.node("Constant", [], { value_float: float(value) });
  }

  #found(values: ReadonlyMap<string, Value>, name: string): Value {
    const value = values.get(name);
    if (value === undefined) throw new Error(`no parameter or gradient of the name ${name}`);
    return value;
  }
}

/** Top, left, bottom, right: with stride 1 the size stays, with stride 2 an even one is halved exactly. */
export function convPads(kernel: number, stride: number): number[] {
  const before = (kernel - 1) / 2;
  const after = before - (stride - 1);
  return [before, before, after, after];
}
