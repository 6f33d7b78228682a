/** Builds ONNX graphs: values are names, nodes are method calls, and the result is an encoded model. */

import {
  ATTRIBUTE_TYPE,
  elemTypeOf,
  encodeModel,
  type OnnxAttribute,
  type OnnxGraph,
  type OnnxNode,
  type OnnxTensor,
  type OnnxValueInfo,
} from "@legacygpu/shared/onnx";
import { type Datatype, elementCount } from "@legacygpu/shared/tensor";

/** The name of a value within a graph. */
export type Value = string;
/** A number is a fixed size, a string the name of a dimension that may take any size. */
export type Dimension = number | string;

/** JavaScript cannot tell 1.0 from 1, ONNX does. */
export class FloatAttribute {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}
export const float = (value: number) => new FloatAttribute(value);

/** Whole numbers become INT and INTS; a builder becomes a subgraph. */
export type AttributeValue = number | FloatAttribute | string | readonly number[] | OnnxTensor | GraphBuilder;
export type Attributes = Readonly<Record<string, AttributeValue>>;

const IR_VERSION = 8;
const OPSET = 17;

export class GraphBuilder {
  readonly #name: string;
  readonly #nodes: OnnxNode[] = [];
  readonly #initializers: OnnxTensor[] = [];
  readonly #inputs: OnnxValueInfo[] = [];
  readonly #outputs: OnnxValueInfo[] = [];
  #values = 0;

  constructor(name: string) {
    this.#name = name;
  }

  input(name: string, datatype: Datatype, shape: readonly Dimension[]): Value {
    this.#inputs.push(valueInfo(name, datatype, shape));
    return name;
  }

  /** Gives `value` the public name `name`. */
  output(name: string, datatype: Datatype, shape: readonly Dimension[], value: Value): void {
    this.#nodes.push({ opType: "Identity", input: [value], output: [name] });
    this.#outputs.push(valueInfo(name, datatype, shape));
  }

  /** Adds a node with one output and returns that. */
  node(opType: string, inputs: readonly Value[], attributes: Attributes = {}): Value {
    const output = this.#newValue(opType);
    this.#add(opType, inputs, [output], attributes);
    return output;
  }

  /** Adds a node with several outputs. */
  nodes(opType: string, inputs: readonly Value[], count: number, attributes: Attributes = {}): Value[] {
    const outputs = Array.from({ length: count }, () => this.#newValue(opType));
    this.#add(opType, inputs, outputs, attributes);
    return outputs;
  }

  /** Adds weights. */
  fp32(data: Float32Array, shape: readonly number[]): Value {
    return this.#initializer(tensor("FP32", shape, data));
  }

  /** Adds whole numbers; a single one without a shape is a scalar. */
  int64(data: readonly number[] | number): Value {
    const values = typeof data === "number" ? [data] : data;
    const shape = typeof data === "number" ? [] : [data.length];
    return this.#initializer(tensor("INT64", shape, BigInt64Array.from(values, BigInt)));
  }

  bool(value: boolean): Value {
    return this.#initializer(tensor("BOOL", [], Uint8Array.of(value ? 1 : 0)));
  }

  toGraph(): OnnxGraph {
    return {
      name: this.#name,
      node: this.#nodes,
      initializer: this.#initializers,
      input: this.#inputs,
      output: this.#outputs,
    };
  }

  encode(): Uint8Array {
    return encodeModel({
      irVersion: IR_VERSION,
      producerName: "legacygpu",
      opsetImport: [{ version: OPSET }],
      graph: this.toGraph(),
    });
  }

  #add(opType: string, input: readonly Value[], output: readonly Value[], attributes: Attributes): void {
    const attribute = Object.entries(attributes).map(([name, value]) => toAttribute(name, value));
    this.#nodes.push({ opType, input, output, attribute });
  }

  #initializer(data: OnnxTensor): Value {
    const name = this.#newValue("const");
    this.#initializers.push({ ...data, name });
    return name;
  }

  /** Names begin with the graph's, because a subgraph sees the values of the graph around it. */
  #newValue(kind: string): Value {
    this.#values += 1;
    return `${this.#name}/${kind}_${this.#values}`;
  }
}

/** A tensor from the platform's memory; ONNX is little-endian, and so is every machine that we run on. */
export function tensor(datatype: Datatype, shape: readonly number[], data: ArrayBufferView): OnnxTensor {
  const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { dims: shape, dataType: elemTypeOf(datatype), rawData };
}

/** The number of weights in a graph, for checks against the literature. */
export function parameterCount(graph: OnnxGraph): number {
  return (graph.initializer ?? [])
    .filter((weights) => weights.dataType === elemTypeOf("FP32"))
    .reduce((sum, weights) => sum + elementCount(weights.dims ?? []), 0);
}

function valueInfo(name: string, datatype: Datatype, shape: readonly Dimension[]): OnnxValueInfo {
  const dim = shape.map((size) => (typeof size === "number" ? { dimValue: size } : { dimParam: size }));
  return { name, type: { tensorType: { elemType: elemTypeOf(datatype), shape: { dim } } } };
}

function toAttribute(name: string, value: AttributeValue): OnnxAttribute {
  if (value instanceof FloatAttribute) return { name, type: ATTRIBUTE_TYPE.float, f: value.value };
  if (value instanceof GraphBuilder) return { name, type: ATTRIBUTE_TYPE.graph, g: value.toGraph() };
  if (typeof value === "string") return { name, type: ATTRIBUTE_TYPE.string, s: Buffer.from(value) };
  if (typeof value === "number") return { name, type: ATTRIBUTE_TYPE.int, i: whole(value) };
  if (isNumbers(value)) return { name, type: ATTRIBUTE_TYPE.ints, ints: value.map(whole) };
  return { name, type: ATTRIBUTE_TYPE.tensor, t: value };
}

function isNumbers(value: readonly number[] | OnnxTensor): value is readonly number[] {
  return Array.isArray(value);
}

function whole(value: number): number {
  if (!Number.isSafeInteger(value))
    throw new RangeError(`${value} is not a whole number; wrap it in float()`);
  return value;
}
