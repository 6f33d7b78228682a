/** What the look at a pushed model lets through, and what it refuses for what the file is. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { OnnxFunction, OnnxTensor } from "@legacygpu/shared/onnx";
import { inspectModel } from "../../gateway/models/inspection.ts";
import { buildFailsOnSomeInputs, buildMemoryBomb, buildSlow } from "../../models/onnx/hostile.ts";
import { buildConvnet } from "../../models/onnx/synthetic.ts";
import {
  expectReasons,
  FLOAT,
  INT64,
  int64s,
  modelOf,
  nested,
  node,
  outside,
  reasonOf,
  scalar,
  value,
  withAttribute,
} from "./model-scan-graphs.ts";

describe("the scan of a model", () => {
  test("lets through what real models are made of", () => {
    expectReasons("accepted", {
      "a network": buildConvnet(),
      "a loop of 250 rounds": buildSlow(),
      "a size that comes with the request": buildMemoryBomb(),
      "a look-up": buildFailsOnSomeInputs(),
      "elements in typed fields": modelOf({
        initializer: [
          { name: "f", dims: [2], dataType: FLOAT, floatData: [new Uint8Array(8)] },
          { name: "i", dims: [3], dataType: INT64, int64Data: [Uint8Array.of(1, 255, 1, 7)] },
          { name: "four bits", dims: [3], dataType: 22, int32Data: [Uint8Array.of(1, 2)] },
          { name: "half", dims: [2], dataType: 10, int32Data: [Uint8Array.of(128, 120, 2)] },
          { name: "s", dims: [2], dataType: 8, stringData: [Buffer.from("a"), Buffer.from("")] },
          { name: "none", dims: [0, 5], dataType: FLOAT },
        ],
      }),
      "a sparse tensor": modelOf({
        sparseInitializer: [
          { values: scalar, indices: { ...int64s([99]), name: "at" }, dims: [10, 10] },
          {
            values: { ...scalar, name: "v" },
            indices: { ...int64s([9, 9]), dims: [1, 2], name: "at" },
            dims: [10, 10],
          },
        ],
      }),
      "contributed operators": modelOf({ node: [node("FusedGemm", { domain: "com.microsoft" })] }),
      "functions of its own": modelOf(
        { node: [node("Twice", { domain: "my.own" })] },
        {
          functions: [
            { name: "Twice", domain: "my.own", node: [node("Once", { domain: "my.own" })] },
            { name: "Once", domain: "my.own", node: [node("Relu")] },
          ],
        },
      ),
      "names with slashes, and outputs that nobody wants": modelOf({
        node: [node("Dropout", { name: "/block/0/..x", output: ["/block/0/out", "", ""] })],
      }),
      "graphs to the depth that is allowed": modelOf(nested(16, {})),
    });
  });

  test("refuses weights in another file, wherever they are declared", () => {
    const sparse = { values: outside, indices: int64s([0]), dims: [1] };
    const indices = { values: scalar, indices: { ...outside, name: "at" }, dims: [1] };
    const inner = { node: [node("Constant", { attribute: [{ name: "value", t: outside }] })] };
    const ofFunction = (more: Partial<OnnxFunction>): Uint8Array =>
      modelOf({}, { functions: [{ name: "F", domain: "f", ...more }] });
    expectReasons("external_data", {
      initializer: modelOf({ initializer: [outside] }),
      "location without entries": modelOf({ initializer: [{ ...scalar, dataLocation: 1 }] }),
      "an unknown location": modelOf({ initializer: [{ ...scalar, dataLocation: 7 }] }),
      "sparse values": modelOf({ sparseInitializer: [sparse] }),
      "sparse indices": modelOf({ sparseInitializer: [indices] }),
      attribute: withAttribute({ t: outside }),
      "list of tensors": withAttribute({ tensors: [scalar, outside] }),
      "sparse attribute": withAttribute({ sparseTensor: sparse }),
      "list of sparse tensors": withAttribute({ sparseTensors: [indices] }),
      subgraph: withAttribute({ g: { initializer: [outside] } }),
      "list of subgraphs": withAttribute({ graphs: [{}, { initializer: [outside] }] }),
      "deep below": modelOf(nested(16, inner)),
      function: ofFunction(inner),
      "default of a function": ofFunction({ attributeProto: [{ name: "a", t: outside }] }),
      "graph in the default of a function": ofFunction({ attributeProto: [{ name: "a", g: inner }] }),
      "training, start": modelOf({}, { trainingInfo: [{ initialization: inner }] }),
      "training, step": modelOf({}, { trainingInfo: [{ algorithm: { initializer: [outside] } }] }),
    });
  });

  test("refuses operators that nobody here knows, naming them, unless their domain is allowed", () => {
    const foreign = modelOf({ node: [node("Steal", { domain: "com.example" })] });
    assert.throws(() => inspectModel(foreign), { code: "model_invalid", message: /'Steal'.*'com\.example'/ });
    assert.equal(reasonOf(foreign, { allowedDomains: ["", "com.example"] }), "accepted");
    const functions = [{ name: "Twice", domain: "my.own", node: [node("Relu")] }];
    expectReasons("unknown_operator_domain", {
      foreign,
      "in a subgraph": modelOf(nested(3, { node: [node("Steal", { domain: "com.example" })] })),
      "in a function": modelOf({}, { functions: [{ name: "F", node: [node("X", { domain: "y" })] }] }),
      "no function of the domain": modelOf({ node: [node("Thrice", { domain: "my.own" })] }, { functions }),
    });
    expectReasons("operator_forbidden", {
      "an engine from another file": modelOf({ node: [node("EPContext", { domain: "com.microsoft" })] }),
    });
  });

  test("refuses tensors that are not what they declare", () => {
    const weights = (more: Partial<OnnxTensor>) => modelOf({ initializer: [{ ...scalar, ...more }] });
    expectReasons("tensor_data", {
      "too few bytes": weights({ dims: [2] }),
      "too many bytes": weights({ rawData: new Uint8Array(8) }),
      "no data": modelOf({ initializer: [{ name: "w", dims: [1], dataType: FLOAT }] }),
      "in two fields": weights({ floatData: [new Uint8Array(4)] }),
      "in the wrong field": modelOf({
        initializer: [{ name: "w", dims: [1], dataType: FLOAT, int64Data: [Uint8Array.of(1)] }],
      }),
      "too few strings": modelOf({ initializer: [{ name: "w", dims: [2], dataType: 8, stringData: [] }] }),
      "in an attribute": withAttribute({ t: { dims: [1000], dataType: FLOAT } }),
    });
    expectReasons("tensor_dims", {
      negative: weights({ dims: [-1] }),
      "negative twice": weights({ dims: [-1, -1] }),
    });
    expectReasons("tensor_too_large", {
      large: weights({ dims: [2 ** 20, 2 ** 20] }),
      "a product that overflows to zero": weights({ dims: [2 ** 32, 2 ** 32] }),
      "beyond all numbers": weights({ dims: Array.from({ length: 100 }, () => Number.MAX_SAFE_INTEGER) }),
      "a sparse tensor, made dense": modelOf({
        sparseInitializer: [{ values: scalar, indices: int64s([0]), dims: [100_000, 100_000] }],
      }),
      "in all": modelOf({
        sparseInitializer: [1, 2, 3].map((each) => ({
          values: { ...scalar, name: `w${each}` },
          indices: int64s([0]),
          dims: [400_000_000],
        })),
      }),
    });
    expectReasons("tensor_type", { unknown: weights({ dataType: 99 }), none: weights({ dataType: 0 }) });
    const sparse = (indices: OnnxTensor) =>
      modelOf({ sparseInitializer: [{ values: scalar, indices, dims: [3, 3] }] });
    expectReasons("sparse_tensor", {
      beyond: sparse(int64s([9])),
      negative: sparse(int64s([-1])),
      "beyond one dimension": sparse({ ...int64s([0, 3]), dims: [1, 2] }),
      "more than there are values": sparse(int64s([0, 1])),
      "of another rank": sparse({ ...int64s([0, 0, 0]), dims: [1, 3] }),
      "without values": modelOf({ sparseInitializer: [{ dims: [1] }] }),
    });
  });

  test("refuses names with control characters, ways out of a folder, two origins, or without end", () => {
    const named = (name: string) => modelOf({ initializer: [{ ...scalar, name }] });
    expectReasons("invalid_name", {
      NUL: named("a\0b"),
      "a line end": named("a\nb"),
      "a node's": modelOf({ node: [node("Relu", { name: "\u001b[2J" })] }),
      "an output that leads upwards": modelOf({
        output: [{ name: "../../etc/cron.d/x", type: value }],
        node: [node("Relu", { output: ["../../etc/cron.d/x"] })],
      }),
    });
    expectReasons("duplicate_name", {
      weights: modelOf({ initializer: [scalar, scalar] }),
      "two nodes": modelOf({ node: [node("Relu", { output: ["a"] }), node("Relu", { output: ["a"] })] }),
      "weights and a node": modelOf({ initializer: [scalar], node: [node("Relu", { output: ["w"] })] }),
      attributes: modelOf({ node: [node("Relu", { attribute: [{ name: "a" }, { name: "a" }] })] }),
    });
    expectReasons("string_too_long", { name: named("a".repeat(5000)) });
    assert.equal(
      reasonOf(withAttribute({ strings: [new Uint8Array(11)] }), { maxStringBytes: 10 }),
      "string_too_long",
    );
  });
});
