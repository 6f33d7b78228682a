/** Models that misbehave: valid for every check before they run, and then a trial for the worker. */

import { float, GraphBuilder, tensor, type Value } from "./graph-builder.ts";
import { Layers } from "./layers.ts";
import { seededRandom } from "./random.ts";

/** Runs for ever in a few hundred bytes: a Loop of 2⁵³ − 1 rounds. `input` FP32 [1] to `output` FP32 [1]. */
export function buildEndlessLoop(): Uint8Array {
  const body = new GraphBuilder("body");
  body.input("round", "INT64", []);
  body.input("go", "BOOL", []);
  const carried = body.input("carried", "FP32", [1]);
  body.output("go_on", "BOOL", [], body.node("Identity", ["go"]));
  body.output("next", "FP32", [1], body.node("Sin", [carried]));

  const graph = new GraphBuilder("endless");
  const input = graph.input("input", "FP32", [1]);
  const rounds = graph.int64(Number.MAX_SAFE_INTEGER);
  graph.output("output", "FP32", [1], graph.node("Loop", [rounds, graph.bool(true), input], { body }));
  return graph.encode();
}

/**
 * Asks for `input[0]` × 1 MiB of memory, fills it, and gives its sum: `input` INT64 [1] to `output` FP32 [1].
 * The size comes with the request, so no look at the graph finds it.
 */
export function buildMemoryBomb(): Uint8Array {
  const graph = new GraphBuilder("bomb");
  const shape = graph.node("Concat", [graph.input("input", "INT64", [1]), graph.int64([512, 512])], {
    axis: 0,
  });
  const value = tensor("FP32", [1], Float32Array.of(1));
  const filled = graph.node("ConstantOfShape", [shape], { value });
  const sum = graph.node("ReduceSum", [graph.node("Sqrt", [filled])], { keepdims: 0 });
  graph.output("output", "FP32", [1], graph.node("Reshape", [sum, graph.int64([1])]));
  return graph.encode();
}

/** Asks for 6.4 GB in some hundred bytes, and a look at the graph finds it. No input; `output` FP32 []. */
export function buildStaticMemoryBomb(side = 40_000): Uint8Array {
  const graph = new GraphBuilder("static-bomb");
  const filled = graph.node("ConstantOfShape", [graph.int64([side, side])]);
  graph.output("output", "FP32", [], graph.node("ReduceSum", [filled], { keepdims: 0 }));
  return graph.encode();
}

/** Looks up `input[0]` in a table of four rows; other indices fail at run time. `input` INT64 [N] to `output` FP32 [N]. */
export function buildFailsOnSomeInputs(): Uint8Array {
  const graph = new GraphBuilder("table");
  const table = graph.fp32(Float32Array.of(10, 20, 30, 40), [4]);
  const index = graph.input("input", "INT64", ["N"]);
  graph.output("output", "FP32", ["N"], graph.node("Gather", [table, index], { axis: 0 }));
  return graph.encode();
}

export interface SlowOptions {
  /** How often the matrix is multiplied; one round is 2 × size³ operations and about 2 ms on one core at size 512. */
  readonly rounds?: number;
  readonly size?: number;
}

/** Takes time in proportion to `rounds`, and ends. `input` FP32 [N, size] to `output` FP32 [N, size]. */
export function buildSlow({ rounds = 250, size = 512 }: SlowOptions = {}): Uint8Array {
  const graph = new GraphBuilder("slow");
  const layers = new Layers(graph, seededRandom(3));
  const input = graph.input("input", "FP32", ["N", size]);
  const matrix = layers.dense(graph.fp32(new Float32Array(size * size).fill(0.5), [size, size]), size, size);
  const nudge = graph.node("ReduceMean", [input], { keepdims: 0 });
  const body = slowBody(size, matrix);
  const start = graph.node("Add", [matrix, nudge]);
  const product = graph.node("Loop", [graph.int64(rounds), graph.bool(true), start], { body });
  const faint = graph.node("Mul", [
    graph.node("ReduceMean", [product], { keepdims: 0 }),
    scalar(graph, 1e-6),
  ]);
  graph.output("output", "FP32", ["N", size], graph.node("Add", [input, faint]));
  return graph.encode();
}

/** One round: multiply, then squash, so that the numbers stay finite. */
function slowBody(size: number, matrix: Value): GraphBuilder {
  const body = new GraphBuilder("round");
  body.input("round", "INT64", []);
  body.input("go", "BOOL", []);
  const carried = body.input("carried", "FP32", [size, size]);
  body.output("go_on", "BOOL", [], body.node("Identity", ["go"]));
  body.output("next", "FP32", [size, size], body.node("Tanh", [body.node("MatMul", [carried, matrix])]));
  return body;
}

function scalar(graph: GraphBuilder, value: number): Value {
  return graph.node("Constant", [], { value_float: float(value) });
}
