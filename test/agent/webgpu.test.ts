/** Real WebGPU, on a GPU in software: what it computes is what the CPU computes. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { manifestSchema } from "@legacygpu/shared/manifest";
import type { Tensor } from "@legacygpu/shared/tensor";
import { firstDifference } from "../../agent/runner/comparison.ts";
import { buildConvnet } from "../../models/onnx/synthetic.ts";
import { AgentRig } from "../support/agent-rig.ts";
import { fakeTask } from "../support/fake-gateway.ts";
import { RunnerRig } from "../support/runner-rig.ts";
import { swiftshader } from "../support/swiftshader.ts";

const DIGITS = new URL("../../models/digits/", import.meta.url);
const TOLERANCE = { absolute: 1e-3, relative: 1e-2 };
const env = swiftshader();

describe("WebGPU", { skip: typeof env === "string" ? env : false }, () => {
  const drivers = typeof env === "string" ? {} : env;
  let digits: { readonly file: Uint8Array; readonly manifest: ReturnType<typeof manifestSchema.parse> };
  let sample: Uint8Array;
  const rigs: RunnerRig[] = [];
  const rigOn = async (provider: string): Promise<RunnerRig> => {
    const rig = await RunnerRig.start({ env: drivers, providers: [provider] });
    rigs.push(rig);
    return rig;
  };

  before(async () => {
    const [file, manifest] = await Promise.all([
      readFile(new URL("model.onnx", DIGITS)),
      readFile(new URL("manifest.json", DIGITS), "utf8"),
    ]);
    sample = await readFile(new URL("sample.png", DIGITS));
    digits = { file, manifest: manifestSchema.parse(JSON.parse(manifest)) };
  });
  after(() => Promise.all(rigs.map((rig) => rig.close())));

  test("digits and a convnet pass their self-test there and answer as on the CPU", async () => {
    const [gpu, cpu] = [await rigOn("webgpu"), await rigOn("cpu")];
    const pixels = Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => Math.sin(i));
    const picture: Tensor = {
      name: "input",
      datatype: "FP32",
      shape: [1, 3, 32, 32],
      data: new Uint8Array(pixels.buffer),
    };
    const scores: Tensor[][] = [];
    const labels: (string | undefined)[] = [];
    for (const rig of [gpu, cpu]) {
      const convnet = await rig.model("convnet", buildConvnet());
      scores.push((await rig.run(convnet, picture)).output.tensors);
      const seen = await rig.submit(await rig.model("digits", digits.file, digits.manifest), {
        kind: "image",
        image: sample,
      });
      labels.push(seen.output.predictions?.[0]?.label);
      assert.equal(seen.provider, rig === gpu ? "webgpu" : "cpu");
      assert.equal(rig.ready(convnet)?.provider, seen.provider);
    }
    assert.deepEqual(labels, ["7", "7"]);
    assert.equal(firstDifference(scores[0] ?? [], scores[1] ?? [], TOLERANCE), undefined);
    const passed = gpu.lines.filter((line) => line.includes("passed its self-test"));
    assert.equal(passed.length, 2);
  });

  test("a worker announces it, serves with it, and says so", async () => {
    const rig = await AgentRig.startReady({ agent: { providers: ["webgpu", "cpu"], env: drivers } });
    try {
      const [hello] = rig.gateway.all("hello");
      assert.deepEqual(hello?.providers, ["webgpu", "cpu"]);
      const ref = rig.gateway.addModel("digits", digits.file, digits.manifest);
      rig.gateway.send({ type: "load_model", model: ref, preload: false });
      const task = fakeTask(ref, { input: { kind: "image", image: sample } });
      rig.gateway.send(task);
      const result = await rig.gateway.result(task.token);
      assert.equal(result.provider, "webgpu");
      const ready = await rig.gateway.next("model_state", ({ state }) => state === "ready");
      assert.deepEqual([ready.provider, ready.reason], ["webgpu", undefined]);
    } finally {
      await rig.close();
    }
  });
});
