/** What the look at a pushed model refuses for what it would cost: size, depth, results, rounds. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { OnnxAttribute, OnnxNode } from "@legacygpu/shared/onnx";
import { GraphBuilder } from "../../models/onnx/graph-builder.ts";
import { buildEndlessLoop, buildStaticMemoryBomb } from "../../models/onnx/hostile.ts";
import { buildConvnet } from "../../models/onnx/synthetic.ts";
import { call, chain, expectReasons, modelOf, nested, node, reasonOf } from "./model-scan-graphs.ts";

describe("the scan of a model", () => {
  test("refuses graphs nested too deeply, and too many nodes", () => {
    expectReasons("nested_too_deep", {
      "by one": modelOf(nested(17, {})),
      "beyond the decoder": modelOf(nested(30, {})),
      "a long chain of functions": modelOf({ node: [call(0)] }, { functions: chain(66, 1) }),
    });
    assert.equal(reasonOf(buildConvnet(), { maxNodes: 5 }), "too_many_nodes");
    assert.equal(reasonOf(modelOf(nested(10, {})), { maxNodes: 10 }), "too_many_nodes");
    // Two bytes each.
    const empty = modelOf({ node: Array.from({ length: 200_001 }, () => ({})) as OnnxNode[] });
    assert.equal(reasonOf(empty), "too_many_nodes");
    const graphs = Array.from({ length: 200_001 }, () => ({}));
    assert.equal(
      reasonOf(modelOf({ node: [node("If", { attribute: [{ name: "g", graphs }] })] })),
      "too_many_nodes",
    );
  });

  test("refuses functions that call themselves, and those that grow without measure", () => {
    const circle = [
      { name: "F0", domain: "f", node: nested(2, { node: [call(1)] }).node ?? [] },
      { name: "F1", domain: "f", node: [call(0)] },
    ];
    expectReasons("function_recursion", {
      itself: modelOf({}, { functions: [{ name: "F0", domain: "f", node: [call(0)] }] }),
      "in a circle, through graphs": modelOf({}, { functions: circle }),
    });
    expectReasons("too_many_nodes", {
      "thirty functions of two calls each": modelOf({ node: [call(0)] }, { functions: chain(30, 2) }),
    });
    assert.equal(reasonOf(modelOf({ node: [call(0)] }, { functions: chain(12, 2) })), "accepted");
    assert.equal(reasonOf(modelOf({}, { functions: [...chain(2, 1), ...chain(1, 1)] })), "duplicate_name");
  });

  test("refuses results whose size the file determines and no machine should have to bear", () => {
    const graph = (opType: string, ...inputs: (readonly number[] | "x")[]) => {
      const builder = new GraphBuilder("g");
      const x = builder.input("x", "FP32", [1]);
      const names = inputs.map((each) => (each === "x" ? x : builder.int64(each)));
      builder.output("y", "FP32", [1], builder.node(opType, names));
      return builder.encode();
    };
    const attributes = (opType: string, more: Partial<OnnxAttribute>) =>
      modelOf({ node: [node(opType, { attribute: [{ name: "shape", ...more }] })] });
    const constantNode = node("Constant", {
      output: ["shape"],
      attribute: [{ name: "value_ints", ints: [40_000, 40_000] }],
    });
    const byNode = [constantNode, node("ConstantOfShape", { input: ["shape"] })];
    expectReasons("result_too_large", {
      ConstantOfShape: buildStaticMemoryBomb(),
      "ConstantOfShape of a constant node": modelOf({ node: byNode }),
      "ConstantOfShape of a constant outside": modelOf({
        node: [constantNode, ...(nested(2, { node: byNode.slice(1) }).node ?? [])],
      }),
      "ConstantOfShape beyond all numbers": graph("ConstantOfShape", [2 ** 40, 2 ** 40, 2 ** 40]),
      Expand: graph("Expand", "x", [50_000, 50_000]),
      Tile: graph("Tile", "x", [3_000_000_000]),
      "Tile of a constant": graph("Tile", [1, 2, 3, 4], [100_000_000]),
      Range: graph("Range", [0], [1_000_000_000], [1]),
      OneHot: graph("OneHot", "x", [3_000_000_000], [0, 1]),
      Pad: graph("Pad", "x", [50_000, 0, 0, 50_000]),
      Resize: graph("Resize", "x", [], [], [50_000, 50_000]),
      RandomNormal: attributes("RandomNormal", { ints: [40_000, 40_000] }),
      HannWindow: graph("HannWindow", [1_000_000_000]),
    });
    expectReasons("accepted", {
      "a gigabyte": buildStaticMemoryBomb(16_384),
      "nothing at all": graph("ConstantOfShape", [0, 2 ** 40]),
      "a negative size, which fails when it runs": graph("ConstantOfShape", [-1, 2 ** 40]),
      "an operator that bears the name of a member of objects": modelOf({
        node: [node("__proto__"), node("toString"), node("constructor")],
      }),
    });
    assert.equal(reasonOf(buildStaticMemoryBomb(), { maxResultBytes: 8e9 }), "accepted");
  });

  test("refuses a Loop that nothing ends, and no other", () => {
    expectReasons("endless_loop", {
      "2⁵³ rounds": buildEndlessLoop(),
      "neither a number of rounds nor a condition": loop({ rounds: "none", condition: "none" }),
      "rounds without limit, a condition that stays": loop({ rounds: "none", condition: "input" }),
      "rounds without limit, a condition that is constant inside": loop({ condition: "true", body: "true" }),
    });
    expectReasons("accepted", {
      "some rounds": loop({ rounds: 1000, condition: "none" }),
      "a number that is computed": loop({ rounds: "input", condition: "true" }),
      "a condition that the body computes": loop({ condition: "true", body: "computed" }),
      "a condition that is false": loop({ condition: "false" }),
    });
    assert.equal(reasonOf(buildEndlessLoop(), { loops: "any" }), "accepted");
  });
});

interface LoopOptions {
  readonly rounds?: number | "none" | "input";
  readonly condition?: "none" | "true" | "false" | "input";
  /** What the body gives as the condition of the next round. */
  readonly body?: "same" | "true" | "computed";
}

function loop({
  rounds = Number.MAX_SAFE_INTEGER,
  condition = "none",
  body = "same",
}: LoopOptions): Uint8Array {
  const inside = new GraphBuilder("body");
  inside.input("round", "INT64", []);
  const go = inside.input("go", "BOOL", []);
  const carried = inside.input("carried", "FP32", [1]);
  const next = { same: () => go, true: () => inside.bool(true), computed: () => inside.node("Not", [go]) };
  inside.output("go_on", "BOOL", [], next[body]());
  inside.output("next", "FP32", [1], carried);
  const graph = new GraphBuilder("loop");
  const x = graph.input("x", "FP32", [1]);
  const count =
    rounds === "input" ? graph.input("n", "INT64", []) : rounds === "none" ? "" : graph.int64(rounds);
  const conditions = {
    none: () => "",
    true: () => graph.bool(true),
    false: () => graph.bool(false),
    input: () => graph.input("c", "BOOL", []),
  };
  graph.output("y", "FP32", [1], graph.node("Loop", [count, conditions[condition](), x], { body: inside }));
  return graph.encode();
}
