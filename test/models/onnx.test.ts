/** The models that tests and benches run really run, and survive the way through our codec. */

import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { LegacyGpuError } from "@legacygpu/shared/errors";
import { datatypeOf, decodeModel, elemTypeOf, encodeModel } from "@legacygpu/shared/onnx";
import { DATATYPES } from "@legacygpu/shared/tensor";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { GraphBuilder, parameterCount } from "../../models/onnx/graph-builder.ts";
import {
  buildEndlessLoop,
  buildFailsOnSomeInputs,
  buildMemoryBomb,
  buildSlow,
} from "../../models/onnx/hostile.ts";
import {
  buildConvnet,
  buildIdentity,
  buildMlp,
  buildResnet50,
  cachedModel,
} from "../../models/onnx/synthetic.ts";

async function run(model: Uint8Array, input: Tensor): Promise<Tensor> {
  const session = await InferenceSession.create(model, { intraOpNumThreads: 1, logSeverityLevel: 4 });
  const results = await session.run({ input });
  const output = results[session.outputNames[0] ?? ""];
  assert.ok(output !== undefined);
  return output;
}

const floats = (shape: readonly number[]) => {
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, index) => (index % 7) / 7);
  return new Tensor("float32", data, shape);
};

suite("codec", () => {
  test("a decoded model is the encoded one", () => {
    const bytes = buildMlp();
    const model = decodeModel(bytes);
    assert.deepEqual(Buffer.from(encodeModel(model)), Buffer.from(bytes));
    assert.deepEqual(model.graph.input?.[0], {
      name: "input",
      type: {
        tensorType: { elemType: elemTypeOf("FP32"), shape: { dim: [{ dimParam: "N" }, { dimValue: 64 }] } },
      },
    });
  });

  test("subgraphs survive", () => {
    const loop = decodeModel(buildEndlessLoop()).graph.node?.find((node) => node.opType === "Loop");
    assert.equal(loop?.attribute?.[0]?.g?.output?.length, 2);
  });

  test("weights are views into the given bytes", () => {
    const bytes = buildMlp();
    const weights = decodeModel(bytes).graph.initializer?.[0]?.rawData;
    assert.equal(weights?.buffer, bytes.buffer);
  });

  test("external data is seen", () => {
    const tensor = { name: "w", dataLocation: 1, externalData: [{ key: "location", value: "/etc/passwd" }] };
    const model = decodeModel(encodeModel({ irVersion: 8, graph: { initializer: [tensor] } }));
    assert.equal(model.graph.initializer?.[0]?.dataLocation, 1);
    assert.equal(model.graph.initializer?.[0]?.externalData?.[0]?.value, "/etc/passwd");
  });

  test("every datatype has its element type; bfloat16 has none", () => {
    for (const datatype of DATATYPES) assert.equal(datatypeOf(elemTypeOf(datatype)), datatype);
    assert.equal(datatypeOf(16), undefined);
  });

  const garbage: Record<string, Uint8Array> = {
    nothing: new Uint8Array(0),
    text: Buffer.from("this is not a model"),
    zeros: new Uint8Array(1000),
    "a picture": Buffer.from("\x89PNG\r\n\x1a\n0000IHDR", "latin1"),
    "half a model": buildMlp().subarray(0, 1000),
    "a length beyond the end": Uint8Array.of(0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f),
    "a graph within a graph within a graph …": nestedGraphs(500),
    "forty million empty nodes": emptyNodes(40_000_000),
  };
  for (const [name, bytes] of Object.entries(garbage)) {
    test(`${name}: refused as model_invalid`, () => {
      assert.throws(
        () => decodeModel(bytes),
        (error) => error instanceof LegacyGpuError && error.code === "model_invalid",
      );
    });
  }
});

suite("graph builder", () => {
  test("a fraction as a whole-number attribute is refused", () => {
    assert.throws(() => new GraphBuilder("g").node("Elu", [], { alpha: 0.5 }), RangeError);
  });
});

suite("synthetic models in onnxruntime", () => {
  test("identity gives back its input", async () => {
    const input = floats([3, 16]);
    assert.deepEqual((await run(buildIdentity(), input)).data, input.data);
    const flat = await run(buildIdentity({ isBatched: false, size: 5 }), floats([5]));
    assert.deepEqual(flat.dims, [5]);
  });

  test("each row of a batch has the result that it has alone", async () => {
    const both = await run(buildMlp(), floats([2, 64]));
    const alone = await run(buildMlp(), floats([1, 64]));
    assert.deepEqual(both.dims, [2, 10]);
    const [batched, single] = [both.data as Float32Array, alone.data as Float32Array];
    for (const [index, value] of single.entries())
      assert.ok(Math.abs(value - (batched[index] ?? NaN)) < 1e-4);
  });

  test("the convnet gives scores that sum to 1", async () => {
    const scores = await run(buildConvnet(), floats([1, 3, 32, 32]));
    const sum = (scores.data as Float32Array).reduce((total, score) => total + score, 0);
    assert.ok(Math.abs(sum - 1) < 1e-4);
  });

  test("ResNet-50 has the parameters of the paper and gives finite scores", async () => {
    const bytes = buildResnet50();
    // 25,557,032 trained ones, and mean and variance of the batch norms.
    assert.equal(parameterCount(decodeModel(bytes).graph), 25_557_032 + 53_120);
    const logits = await run(bytes, floats([1, 3, 224, 224]));
    assert.deepEqual(logits.dims, [1, 1000]);
    assert.ok((logits.data as Float32Array).every((value) => Math.abs(value) < 1000));
  });

  test("the cache builds once and leaves no unfinished file", async () => {
    const directory = await mkdtemp(join(tmpdir(), "models-"));
    try {
      const [one, two] = await Promise.all([cachedModel("mlp", directory), cachedModel("mlp", directory)]);
      assert.equal(one, two);
      assert.deepEqual(await readFile(one), Buffer.from(buildMlp()));
      assert.equal((await readdir(directory)).length, 1);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

suite("hostile models", () => {
  test("the endless loop is small and loads", async () => {
    assert.ok(buildEndlessLoop().length < 500);
    await InferenceSession.create(buildEndlessLoop());
  });

  test("the memory bomb allocates what the request asks for", async () => {
    const sum = await run(buildMemoryBomb(), new Tensor("int64", BigInt64Array.of(1n), [1]));
    assert.equal(Number(sum.data[0]), 512 * 512);
  });

  test("the table fails outside of its rows only", async () => {
    const index = (value: bigint) => new Tensor("int64", BigInt64Array.of(value), [1]);
    assert.equal((await run(buildFailsOnSomeInputs(), index(2n))).data[0], 30);
    await assert.rejects(run(buildFailsOnSomeInputs(), index(9n)));
  });

  test("the slow model computes something, however many rounds", async () => {
    for (const rounds of [1, 60]) {
      const { data } = await run(buildSlow({ rounds }), floats([1, 512]));
      assert.ok([...(data as Float32Array)].every(Number.isFinite));
    }
  });
});

/** Lengths that overflow are cut off: the decoder gives up before it gets there. */
function field(id: number, value: Uint8Array): Buffer {
  const header = [(id << 3) | 2];
  let rest = value.length;
  for (; rest > 127; rest >>>= 7) header.push((rest & 127) | 128);
  return Buffer.concat([Uint8Array.of(...header, rest), value]);
}

function nestedGraphs(depth: number): Uint8Array {
  let graph: Buffer = Buffer.alloc(0);
  for (let level = 0; level < depth; level += 1) graph = field(1, field(5, field(6, graph)));
  return field(7, graph);
}

function emptyNodes(count: number): Uint8Array {
  return field(7, Buffer.alloc(count * 2, Uint8Array.of(0x0a, 0x00)));
}
