/** Small models, sound but for what a test adds to them, and what the scan says of them. */

import assert from "node:assert/strict";
import { LegacyGpuError } from "@legacygpu/shared/errors";
import {
  encodeModel,
  type OnnxAttribute,
  type OnnxFunction,
  type OnnxGraph,
  type OnnxModel,
  type OnnxNode,
  type OnnxTensor,
} from "@legacygpu/shared/onnx";
import { inspectModel } from "../../gateway/models/inspection.ts";
import type { ScanPolicy } from "../../gateway/models/scan-policy.ts";

export const FLOAT = 1;
export const INT64 = 7;
const GRAPH_ATTRIBUTE = 5;

export const node = (opType: string, more: Partial<OnnxNode> = {}): OnnxNode => ({ opType, ...more });
export const scalar: OnnxTensor = { name: "w", dims: [1], dataType: FLOAT, rawData: new Uint8Array(4) };
export const outside: OnnxTensor = {
  ...scalar,
  externalData: [{ key: "location", value: "../../etc/passwd" }],
};
export const value = { tensorType: { elemType: FLOAT, shape: { dim: [{ dimValue: 1 }] } } };

/** A sound model of one node and what a test adds to it. */
export function modelOf(graph: Partial<OnnxGraph>, more: Partial<OnnxModel> = {}): Uint8Array {
  const { node: nodes = [], ...rest } = graph;
  return encodeModel({
    irVersion: 8,
    opsetImport: [{ version: 17 }],
    ...more,
    graph: {
      input: [{ name: "x", type: value }],
      output: [{ name: "y", type: value }],
      node: [...nodes, node("Identity", { input: ["x"], output: ["y"] })],
      ...rest,
    },
  });
}

export const withAttribute = (attribute: Partial<OnnxAttribute>): Uint8Array =>
  modelOf({ node: [node("Relu", { attribute: [{ name: "a", ...attribute }] })] });

/** A graph in a graph in a graph … */
export function nested(depth: number, innermost: OnnxGraph): OnnxGraph {
  let graph = innermost;
  for (let level = 0; level < depth; level += 1)
    graph = { node: [node("If", { attribute: [{ name: "then_branch", type: GRAPH_ATTRIBUTE, g: graph }] })] };
  return graph;
}

export function reasonOf(bytes: Uint8Array, policy?: Partial<ScanPolicy>): unknown {
  try {
    inspectModel(bytes, policy);
    return "accepted";
  } catch (error) {
    if (!(error instanceof LegacyGpuError) || error.code !== "model_invalid") throw error;
    return error.details.reason;
  }
}

export function expectReasons(expected: string, cases: Readonly<Record<string, Uint8Array>>): void {
  const found = Object.fromEntries(Object.entries(cases).map(([name, bytes]) => [name, reasonOf(bytes)]));
  assert.deepEqual(found, Object.fromEntries(Object.keys(cases).map((name) => [name, expected])));
}

export const int64s = (numbers: readonly number[]): OnnxTensor => ({
  dims: [numbers.length],
  dataType: INT64,
  rawData: new Uint8Array(BigInt64Array.from(numbers, BigInt).buffer),
});

export function call(index: number): OnnxNode {
  return node(`F${index}`, { domain: "f" });
}

/** Functions of which each calls the next `width` times. */
export function chain(length: number, width: number): OnnxFunction[] {
  return Array.from({ length }, (_, index) => ({
    name: `F${index}`,
    domain: "f",
    node: Array.from({ length: width }, () => (index === length - 1 ? node("Relu") : call(index + 1))),
  }));
}
