/** Tensors and labels at the engine's edge; hardware tools' output. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { postprocessSchema } from "@legacygpu/shared/manifest";
import type { Tensor } from "@legacygpu/shared/tensor";
import { classify } from "../../agent/executors/classification.ts";
import { openModel } from "../../agent/executors/onnx.ts";
import { arrayOf, bytesOf } from "../../agent/executors/tensors.ts";
import { parseNvidia, parseRocm } from "../../agent/hardware/probe.ts";
import { parseGatewayUrl } from "../../agent/options.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { floats } from "../support/fake-gateway.ts";

test("bytes become arrays of every datatype, from any offset, and back", () => {
  const samples: [Tensor["datatype"], number[], Uint8Array][] = [
    ["BOOL", [2], Uint8Array.of(1, 0)],
    ["INT8", [2], Uint8Array.of(255, 1)],
    ["FP16", [1], Uint8Array.of(0, 0x3c)],
    ["INT32", [1], Uint8Array.of(1, 0, 0, 0)],
    ["INT64", [1], Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255)],
    ["FP64", [1], new Uint8Array(8)],
    ["BYTES", [2], Uint8Array.of(2, 0, 0, 0, 104, 105, 0, 0, 0, 0)],
    ["FP32", [0], new Uint8Array(0)],
  ];
  for (const [datatype, shape, bytes] of samples) {
    for (const offset of [0, 1, 3]) {
      const frame = new Uint8Array(offset + bytes.length);
      frame.set(bytes, offset);
      const array = arrayOf({ name: "x", datatype, shape, data: frame.subarray(offset) });
      assert.deepEqual(bytesOf(array), bytes, `${datatype} at ${offset}`);
    }
  }
});

test("aligned bytes are not copied", () => {
  const data = new Uint8Array(64);
  const array = arrayOf({ name: "x", datatype: "FP32", shape: [16], data });
  assert.equal((array as Float32Array).buffer, data.buffer);
});

test("bytes that do not fill the shape are refused", () => {
  assert.throws(
    () => arrayOf({ name: "x", datatype: "FP32", shape: [2], data: new Uint8Array(7) }),
    /needs 8/,
  );
  assert.throws(
    () => arrayOf({ name: "x", datatype: "BYTES", shape: [1], data: Uint8Array.of(9, 0, 0, 0) }),
    /1 BYTES/,
  );
});

test("labels: softmax, best first, as many as asked for", () => {
  const spec = postprocessSchema.parse({ kind: "classification", top_k: 2, labels: ["a", "b", "c"] });
  const best = classify(floats("scores", [1, 3], [0, 2, 1]), spec);
  assert.deepEqual(
    best?.map(({ label, index }) => [label, index]),
    [
      ["b", 1],
      ["c", 2],
    ],
  );
  assert.ok(Math.abs((best?.[0]?.score ?? 0) - Math.exp(2) / (1 + Math.E + Math.exp(2))) < 1e-6);
  const raw = classify(floats("scores", [3], [0.1, 0.7, 0.2]), { ...spec, softmax: false });
  assert.ok(Math.abs((raw?.[0]?.score ?? 0) - 0.7) < 1e-6);
  assert.equal(classify(floats("scores", [2, 3], 1), spec), undefined);
});

test("a model runs on the provider that was asked for, and on no other", async () => {
  const model = await openModel(buildIdentity(), { provider: "cpu", threads: 1 });
  assert.equal(model.provider, "cpu");
  assert.deepEqual(model.inputs, [{ name: "input", datatype: "FP32", shape: [-1, 16] }]);
  const [output] = await model.run([floats("input", [2, 16], 3)]);
  assert.deepEqual(output, floats("output", [2, 16], 3));
  await model.release();
  for (const [file, provider] of [
    [buildIdentity(), "no-such-thing"],
    [Uint8Array.of(1, 2, 3), "cpu"],
  ] as const)
    await assert.rejects(openModel(file, { provider, threads: 1 }), { code: "model_load_failed" });
});

test("the vendors' tools are understood", () => {
  assert.deepEqual(parseNvidia("NVIDIA GeForce GTX 1080 Ti, 11264, 550.54.15\n"), [
    {
      name: "NVIDIA GeForce GTX 1080 Ti",
      vendor: "NVIDIA",
      vramBytes: 11264 * 1024 * 1024,
      driver: "550.54.15",
    },
  ]);
  const rocm = {
    card0: { "Card series": "Radeon RX 580 Series", "VRAM Total Memory (B)": "8589934592" },
    system: { "Driver version": "6.1.0" },
  };
  assert.deepEqual(parseRocm(JSON.stringify(rocm)), [
    { name: "Radeon RX 580 Series", vendor: "AMD", vramBytes: 8589934592, driver: "6.1.0" },
  ]);
  assert.deepEqual([...parseNvidia(""), ...parseRocm("Traceback …")], []);
});

test("an address without encryption is answered with what to write", () => {
  assert.equal(parseGatewayUrl("wss://box:8000/x").href, "https://box:8000/");
  assert.equal(parseGatewayUrl("https://box").href, "https://box/");
  for (const wrong of ["tcp://box:1", "ws://box:1", "http://box:1"])
    assert.throws(() => parseGatewayUrl(wrong), /write wss:\/\/box:1/);
  assert.throws(() => parseGatewayUrl("box:8000"), /wss:\/\/box:8000/);
});
