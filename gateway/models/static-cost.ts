/**
 * What a node will certainly cost, where the file alone says so: the size of its result, and whether a Loop ends.
 *
 * A hundred bytes can ask for gigabytes. A size that is computed, or comes with a request, is not seen here: that is for the limits of
 * the process that runs the model.
 */

import { elementBits, type OnnxAttribute, type OnnxGraph, type OnnxNode } from "@legacygpu/shared/onnx";
import { refusal, type ScanPolicy, shown } from "./scan-policy.ts";
import { Scope } from "./scope.ts";

interface Call {
  readonly node: OnnxNode;
  readonly scope: Scope;
}

const FLOAT = 1;
const INT64 = 7;

/** The least number of elements that an operator gives, if that is known. Operators not named here give no more than they are given. */
const RESULT_ELEMENTS: ReadonlyMap<string | undefined, (call: Call) => number | undefined> = new Map(
  Object.entries<(call: Call) => number | undefined>({
    ConstantOfShape: (call) => productOf(constant(call, 0)),
    // Broadcasting only makes it larger.
    Expand: (call) => productOf(constant(call, 1)),
    Tile: (call) => times(productOf(constant(call, 1)), inputElements(call)),
    Range: rangeElements,
    OneHot: (call) => productOf(constant(call, 1)?.slice(0, 1)),
    Pad: (call) => padElements(constant(call, 1) ?? attribute(call, "pads")?.ints ?? []),
    Resize: (call) => productOf(constant(call, 3)) ?? scaled(call, constant(call, 2)),
    Upsample: (call) => scaled(call, constant(call, 1) ?? attribute(call, "scales")?.floats),
    RandomNormal: (call) => productOf(attribute(call, "shape")?.ints),
    RandomUniform: (call) => productOf(attribute(call, "shape")?.ints),
    HannWindow: (call) => productOf(constant(call, 0)),
    HammingWindow: (call) => productOf(constant(call, 0)),
    BlackmanWindow: (call) => productOf(constant(call, 0)),
  }),
);

/** @throws `model_invalid` */
export function checkStaticCost(node: OnnxNode, scope: Scope, policy: ScanPolicy): void {
  const call = { node, scope };
  const elements = RESULT_ELEMENTS.get(node.opType)?.(call);
  if (elements !== undefined && elements * resultElementBytes(call) > policy.maxResultBytes) {
    throw refusal(
      "result_too_large",
      `${node.opType} ${shown(node.name)} gives ${elements} elements, over ${policy.maxResultBytes} bytes.`,
    );
  }
  if (node.opType === "Loop" && policy.loops === "bounded" && !canEnd(call, policy.maxLoopRounds)) {
    throw refusal(
      "endless_loop",
      `Loop ${shown(node.name)} runs more than ${policy.maxLoopRounds} rounds and nothing ends it earlier.`,
    );
  }
}

/** Unknown when neither the attributes nor a constant input tell: then it is one byte, so that nothing is refused that might fit. */
function resultElementBytes(call: Call): number {
  const { opType, input } = call.node;
  if (/^(Random|.*Window$)/.test(opType))
    return bytesOf((attribute(call, "dtype") ?? attribute(call, "output_datatype"))?.i ?? FLOAT);
  if (opType === "ConstantOfShape") return bytesOf(attribute(call, "value")?.t?.dataType ?? FLOAT);
  if (opType === "Range") return bytesOf(call.scope.tensor(input?.[0])?.dataType ?? INT64);
  return bytesOf(call.scope.tensor(input?.[0])?.dataType ?? 0);
}

function bytesOf(elemType: number): number {
  return Math.max(1, (elementBits(elemType) ?? 8) / 8);
}

function attribute({ node }: Call, name: string): OnnxAttribute | undefined {
  return node.attribute?.find((each) => each.name === name);
}

function constant({ node, scope }: Call, index: number): readonly number[] | undefined {
  return scope.numbers(node.input?.[index]);
}

function inputElements({ node, scope }: Call): number {
  const dims = scope.tensor(node.input?.[0])?.dims;
  return dims === undefined ? 1 : (productOf(dims) ?? 1);
}

/** Sizes below zero are an error when it runs, and nothing to be counted. */
function productOf(sizes: readonly number[] | undefined): number | undefined {
  if (sizes === undefined || sizes.some((size) => !(size >= 0))) return undefined;
  return sizes.includes(0) ? 0 : sizes.reduce((product, size) => product * size, 1);
}

function times(count: number | undefined, factor: number): number | undefined {
  if (count === undefined) return undefined;
  return count === 0 || factor === 0 ? 0 : count * factor;
}

function scaled(call: Call, scales: readonly number[] | undefined): number | undefined {
  if (scales === undefined || scales.length === 0) return undefined;
  return times(productOf(scales), inputElements(call));
}

function rangeElements(call: Call): number | undefined {
  const [start] = constant(call, 0) ?? [];
  const [limit] = constant(call, 1) ?? [];
  const [delta] = constant(call, 2) ?? [];
  if (start === undefined || limit === undefined || !delta) return undefined;
  return Math.max(0, Math.ceil((limit - start) / delta));
}

/** Each dimension is at least what is put before and behind it. */
function padElements(pads: readonly number[]): number {
  const rank = Math.floor(pads.length / 2);
  let elements = 1;
  for (let axis = 0; axis < rank; axis += 1)
    elements *= Math.max(1, (pads[axis] ?? 0) + (pads[axis + rank] ?? 0));
  return elements;
}

function canEnd(call: Call, maxRounds: number): boolean {
  const { node, scope } = call;
  const [rounds, condition] = node.input ?? [];
  const isCounted = rounds !== undefined && rounds !== "";
  const [count] = scope.numbers(rounds) ?? [];
  // A computed number of rounds, or an input.
  if (isCounted && (count === undefined || count <= maxRounds)) return true;
  // Without a condition its body's says nothing either.
  if (condition === undefined || condition === "") return false;
  if (scope.truth(condition) === false) return true;
  const body = attribute(call, "body")?.g;
  return body === undefined || changesCondition(body, scope);
}

/** Whether the body's condition is anything but the one that it was given, or constantly true. */
function changesCondition(body: OnnxGraph, outer: Scope): boolean {
  const inside = new Scope(outer);
  const sources = new Map<string, string>();
  for (const { name, ...tensor } of body.initializer ?? []) inside.addTensor(name ?? "", tensor);
  for (const node of body.node ?? []) {
    inside.addNode(node);
    const [from, to] = [node.input?.[0], node.output?.[0]];
    if (node.opType === "Identity" && from !== undefined && to !== undefined) sources.set(to, from);
  }
  let value = body.output?.[0]?.name;
  // Each step leaves one source behind: a circle ends as well.
  for (let source = value; source !== undefined; ) {
    value = source;
    source = sources.get(value);
    sources.delete(value);
  }
  if (value === body.input?.[1]?.name) return false;
  return inside.truth(value) !== true;
}
