/** Which execution provider computes a model: proven first, replaced when it is wrong. Real runner processes. */

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { manifestSchema } from "@legacygpu/shared/manifest";
import type { Tensor } from "@legacygpu/shared/tensor";
import sharp from "sharp";
import { GraphBuilder } from "../../models/onnx/graph-builder.ts";
import { buildMlp } from "../../models/onnx/synthetic.ts";
import { floats } from "../support/fake-gateway.ts";
import { RunnerRig, type RunnerRigOptions } from "../support/runner-rig.ts";

const rigs: RunnerRig[] = [];
after(() => Promise.all(rigs.map((rig) => rig.close())));

async function rigOf(providers: readonly string[], options: RunnerRigOptions = {}): Promise<RunnerRig> {
  const rig = await RunnerRig.start({ isOdd: true, providers, ...options });
  rigs.push(rig);
  return rig;
}

const MLP_INPUT = floats("input", [1, 64], 0.5);

/** Every index is beyond the table, unless it is near -100. */
function buildPickyTable(): Uint8Array {
  const graph = new GraphBuilder("picky");
  const table = graph.fp32(Float32Array.of(10, 20, 30, 40), [4]);
  const index = graph.node("Add", [graph.input("input", "INT64", ["N"]), graph.int64([100])]);
  graph.output("output", "FP32", ["N"], graph.node("Gather", [table, index], { axis: 0 }));
  return graph.encode();
}

describe("the self-test of a provider", () => {
  test("one that is off by a tenth never serves; the next does, and why is told", async () => {
    const rig = await rigOf(["cuda", "webgpu", "cpu"]);
    const model = await rig.model("mlp", buildMlp());
    assert.equal((await rig.run(model, MLP_INPUT)).provider, "webgpu");
    const ready = rig.ready(model);
    assert.equal(ready?.provider, "webgpu");
    assert.equal(ready?.passedOver.length, 1);
    assert.match(
      ready?.passedOver[0] ?? "",
      /^cuda: It computes other numbers than the CPU: output `output`\[\d+\]/,
    );
    assert.ok(rig.hasLogged("a provider failed its self-test"));
  });

  test("one that gives no numbers is left for the CPU", async () => {
    const rig = await rigOf(["dml", "cpu"]);
    const model = await rig.model("mlp", buildMlp());
    assert.equal((await rig.run(model, MLP_INPUT)).provider, "cpu");
    assert.match(rig.ready(model)?.passedOver[0] ?? "", /^dml: .* is NaN instead of/);
  });

  test("the manifest's tolerance decides what is off", async () => {
    const rig = await rigOf(["cuda", "cpu"]);
    const model = await rig.model("mlp", buildMlp(), { tolerance: { absolute: 0.001, relative: 0.2 } });
    assert.equal((await rig.run(model, MLP_INPUT)).provider, "cuda");
  });

  test("one that takes its process down while it loads costs no task, and is not tried again after a restart", async () => {
    const first = await rigOf(["tensorrt", "cpu"]);
    const model = await first.model("mlp", buildMlp());
    assert.equal((await first.run(model, MLP_INPUT)).provider, "cpu");
    assert.match(first.ready(model)?.passedOver[0] ?? "", /^tensorrt: It took its process down .*SIGSEGV/);
    assert.equal(first.lines.filter((line) => line.includes("the runner died")).length, 1);
    await first.stop();
    const second = await rigOf(["tensorrt", "cpu"], { dir: first.dir });
    assert.equal((await second.run(model, MLP_INPUT)).provider, "cpu");
    assert.ok(!second.hasLogged("the runner died"));
  });

  test("it is made once on a machine, and again when the machine changes", async () => {
    const first = await rigOf(["webgpu", "cpu"]);
    const model = await first.model("mlp", buildMlp());
    await first.run(model, MLP_INPUT);
    assert.ok(first.hasLogged("a provider passed its self-test"));
    await first.stop();
    const same = await rigOf(["webgpu", "cpu"], { dir: first.dir });
    assert.equal((await same.run(model, MLP_INPUT)).provider, "webgpu");
    assert.ok(!same.hasLogged("a provider passed its self-test"));
    await same.stop();
    const changed = await rigOf(["webgpu", "cpu"], { dir: first.dir, fingerprint: "a new driver" });
    assert.equal((await changed.run(model, MLP_INPUT)).provider, "webgpu");
    assert.ok(changed.hasLogged("a provider passed its self-test"));
  });

  test("where the CPU refuses inputs that nobody chose, a provider serves untested, which is logged", async () => {
    const rig = await rigOf(["webgpu", "cpu"]);
    const model = await rig.model("picky", buildPickyTable());
    const index: Tensor = {
      name: "input",
      datatype: "INT64",
      shape: [1],
      data: new Uint8Array(BigInt64Array.of(-98n).buffer),
    };
    const { provider, output } = await rig.run(model, index);
    assert.deepEqual([provider, output.tensors], ["webgpu", [floats("output", [1], 30)]]);
    assert.ok(rig.hasLogged("without having been tested"));
  });
});

describe("golden examples", () => {
  /** A white picture finds its row of the table; numbers around zero are far beyond it. */
  function buildWhiteOnly(): Uint8Array {
    const graph = new GraphBuilder("white");
    const mean = graph.node("ReduceMean", [graph.input("input", "FP32", ["N", 3, 8, 8])], { keepdims: 0 });
    const thousand = graph.node("Mul", [mean, graph.fp32(Float32Array.of(1000), [1])]);
    const row = graph.node("Sub", [graph.node("Cast", [thousand], { to: 7 }), graph.int64([1000])]);
    const table = graph.fp32(Float32Array.of(0.1, 0.9), [1, 2]);
    graph.output("scores", "FP32", [1, 2], graph.node("Gather", [table, row], { axis: 0 }));
    return graph.encode();
  }

  test("decide where nothing else can", async () => {
    const picture = { create: { width: 8, height: 8, channels: 3 as const, background: "#ffffff" } };
    const white = await sharp(picture).png().toBuffer();
    const manifest = manifestSchema.parse({
      preprocess: { kind: "image", width: 8, height: 8 },
      postprocess: { kind: "classification", softmax: false, top_k: 1, labels: ["black", "white"] },
      golden: [{ image: white.toString("base64"), label: "white", min_score: 0.9 - 1e-6 }],
    });
    const rig = await rigOf(["dml", "webgpu", "cpu"]);
    const model = await rig.model("white", buildWhiteOnly(), manifest);
    const { provider, output } = await rig.submit(model, { kind: "image", image: white });
    assert.deepEqual([provider, output.predictions?.[0]?.label], ["webgpu", "white"]);
    assert.match(rig.ready(model)?.passedOver[0] ?? "", /^dml: Golden example 0 is not reproduced on dml/);
    assert.ok(!rig.hasLogged("without having been tested"));
  });
});

describe("the order of providers", () => {
  test("a model's own order comes before the worker's", async () => {
    const rig = await rigOf(["cpu", "webgpu"]);
    const requirements = { providers: ["tensorrt" as const, "webgpu" as const, "cpu" as const] };
    const model = await rig.model("mlp", buildMlp(), { requirements });
    assert.equal((await rig.run(model, MLP_INPUT)).provider, "webgpu");
    assert.equal((await rig.run(await rig.model("any", buildMlp()), MLP_INPUT)).provider, "cpu");
  });

  test("a model that wants what the worker lacks is refused, with both named", async () => {
    const rig = await rigOf(["cpu"]);
    const model = await rig.model("mlp", buildMlp(), { requirements: { providers: ["cuda", "tensorrt"] } });
    await assert.rejects(rig.run(model, MLP_INPUT), {
      code: "model_load_failed",
      message: "The model runs on cuda or tensorrt only; this worker has cpu.",
    });
    assert.deepEqual(rig.states(model), ["failed"]);
  });

  test("a model whose only provider is wrong is not served", async () => {
    const rig = await rigOf(["cuda", "cpu"]);
    const model = await rig.model("mlp", buildMlp(), { requirements: { providers: ["cuda"] } });
    await assert.rejects(rig.run(model, MLP_INPUT), { code: "model_load_failed", message: /other numbers/ });
  });
});
