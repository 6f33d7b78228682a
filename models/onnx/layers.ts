/** The layers that the synthetic networks are made of, with random weights. */

import { float, type GraphBuilder, type Value } from "./graph-builder.ts";
import { heWeights, type Random } from "./random.ts";

export interface ConvShape {
  readonly from: number;
  readonly to: number;
  readonly kernel: number;
  readonly stride?: number;
}

/** A network under construction: its graph and where its weights come from. */
export class Layers {
  readonly graph: GraphBuilder;
  readonly #random: Random;

  constructor(graph: GraphBuilder, random: Random) {
    this.graph = graph;
    this.#random = random;
  }

  /** Padded so that stride 1 keeps the size; without bias, a batchNorm is to follow. */
  conv(input: Value, { from, to, kernel, stride = 1 }: ConvShape): Value {
    const fanIn = from * kernel * kernel;
    const weights = this.graph.fp32(heWeights(this.#random, to * fanIn, fanIn), [to, from, kernel, kernel]);
    const pad = (kernel - 1) / 2;
    return this.graph.node("Conv", [input, weights], {
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: [pad, pad, pad, pad],
    });
  }

  batchNorm(input: Value, channels: number, gain = 1): Value {
    const filled = (value: number) => this.graph.fp32(new Float32Array(channels).fill(value), [channels]);
    const [scale, bias, mean, variance] = [filled(gain), filled(0), filled(0), filled(1)];
    return this.graph.node("BatchNormalization", [input, scale, bias, mean, variance], {
      epsilon: float(1e-5),
    });
  }

  dense(input: Value, from: number, to: number): Value {
    const weights = this.graph.fp32(heWeights(this.#random, from * to, from), [from, to]);
    return this.graph.node("Gemm", [input, weights, this.graph.fp32(new Float32Array(to), [to])]);
  }

  relu(input: Value): Value {
    return this.graph.node("Relu", [input]);
  }

  maxPool(input: Value, kernel: number, stride: number): Value {
    const pad = Math.floor((kernel - 1) / 2);
    return this.graph.node("MaxPool", [input], {
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: [pad, pad, pad, pad],
    });
  }

  /** [N, C, H, W] to [N, C]. */
  globalAveragePool(input: Value): Value {
    return this.graph.node("Flatten", [this.graph.node("GlobalAveragePool", [input])], { axis: 1 });
  }
}
