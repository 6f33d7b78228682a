/** ResNet-50 v1.5 (stride in the 3×3 convolution) as published, except that its weights are random. */

import { GraphBuilder, type Value } from "./graph-builder.ts";
import { Layers } from "./layers.ts";
import { seededRandom } from "./random.ts";

const STAGES = [
  { blocks: 3, width: 64, stride: 1 },
  { blocks: 4, width: 128, stride: 2 },
  { blocks: 6, width: 256, stride: 2 },
  { blocks: 3, width: 512, stride: 2 },
] as const;
const EXPANSION = 4;
const CLASSES = 1000;
/** Without training, sums of 16 blocks at full gain would grow by a factor of hundreds. */
const BRANCH_GAIN = 0.25;

/** `input` FP32 [N, 3, 224, 224] to `logits` FP32 [N, 1000]; 25.6 million parameters, 102 MB. */
export function buildResnet50(seed: number = 50): Uint8Array {
  const graph = new GraphBuilder("resnet50");
  const layers = new Layers(graph, seededRandom(seed));
  let value = graph.input("input", "FP32", ["N", 3, 224, 224]);
  value = layers.conv(value, { from: 3, to: 64, kernel: 7, stride: 2 });
  value = layers.maxPool(layers.relu(layers.batchNorm(value, 64)), 3, 2);
  let channels = 64;
  for (const { blocks, width, stride } of STAGES) {
    for (let block = 0; block < blocks; block += 1) {
      value = bottleneck(layers, value, { from: channels, width, stride: block === 0 ? stride : 1 });
      channels = width * EXPANSION;
    }
  }
  const logits = layers.dense(layers.globalAveragePool(value), channels, CLASSES);
  graph.output("logits", "FP32", ["N", CLASSES], logits);
  return graph.encode();
}

interface BottleneckShape {
  readonly from: number;
  readonly width: number;
  readonly stride: number;
}

function bottleneck(layers: Layers, input: Value, { from, width, stride }: BottleneckShape): Value {
  const to = width * EXPANSION;
  let branch = layers.conv(input, { from, to: width, kernel: 1 });
  branch = layers.conv(layers.relu(layers.batchNorm(branch, width)), {
    from: width,
    to: width,
    kernel: 3,
    stride,
  });
  branch = layers.conv(layers.relu(layers.batchNorm(branch, width)), { from: width, to, kernel: 1 });
  branch = layers.batchNorm(branch, to, BRANCH_GAIN);
  const shortcut =
    from === to ? input : layers.batchNorm(layers.conv(input, { from, to, kernel: 1, stride }), to);
  return layers.relu(layers.graph.node("Add", [branch, shortcut]));
}
