import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import type { Manifest } from "@legacygpu/shared/manifest";
import { decodeModel, encodeModel } from "@legacygpu/shared/onnx";
import { digestOf } from "../../gateway/models/blobs.ts";
import { Catalogue } from "../../gateway/models/catalogue.ts";
import { buildConvnet, buildIdentity } from "../../models/onnx/synthetic.ts";
import { ManualClock } from "../support/manual-clock.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "legacygpu-models-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const open = (): Promise<Catalogue> => Catalogue.open(folder, new ManualClock());

async function* chunks(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  for (let i = 0; i < bytes.length; i += 1000) yield bytes.subarray(i, i + 1000);
}

async function push(
  catalogue: Catalogue,
  name: string,
  version: string,
  file: Uint8Array,
  manifest: Manifest = {},
) {
  await catalogue.blobs.receive(digestOf(file), chunks(file));
  return catalogue.add(name, version, digestOf(file), manifest);
}

test("a model says what it takes and gives, without being run", async () => {
  const { model } = await push(await open(), "identity", "1", buildIdentity());
  assert.deepEqual(model.inputs, [{ name: "input", datatype: "FP32", shape: [-1, 16] }]);
  assert.deepEqual(model.outputs, [{ name: "output", datatype: "FP32", shape: [-1, 16] }]);
});

test("the newest version is the one that is meant, versions stay, and all outlive the process", async () => {
  const catalogue = await open();
  await push(catalogue, "m", "1", buildIdentity());
  await push(catalogue, "m", "2", buildIdentity({ size: 8 }), { description: "smaller" });
  for (const each of [catalogue, await open()]) {
    assert.equal(each.find("m").ref.version, "2");
    assert.equal(each.find("m", "1").inputs[0]?.shape[1], 16);
    assert.equal(each.find("m").manifest.description, "smaller");
    assert.deepEqual(
      each.versions("m").map(({ ref }) => ref.version),
      ["1", "2"],
    );
  }
});

test("pushing the same again changes nothing; other contents under the same version are refused", async () => {
  const catalogue = await open();
  assert.equal((await push(catalogue, "m", "1", buildIdentity())).isNew, true);
  assert.equal((await push(catalogue, "m", "1", buildIdentity())).isNew, false);
  await assert.rejects(push(catalogue, "m", "1", buildIdentity(), { description: "other" }), {
    code: "model_version_exists",
  });
});

test("a file whose weights are elsewhere is refused", async () => {
  const model = decodeModel(buildConvnet());
  const [weights, ...others] = model.graph.initializer ?? [];
  const externalData = [{ key: "location", value: "../../etc/passwd" }];
  const outside = encodeModel({
    ...model,
    graph: { ...model.graph, initializer: [{ ...weights, externalData }, ...others] },
  });
  await assert.rejects(push(await open(), "m", "1", outside), {
    code: "model_invalid",
    message: /in another file/,
  });
});

test("a manifest must fit its model", async () => {
  const catalogue = await open();
  const picture = {
    kind: "image",
    layout: "NCHW",
    colors: "RGB",
    fit: "fill",
    background: "#ffffff",
    scale: 1,
    mean: 0,
    std: 1,
  } as const;
  const wrong: [Manifest, RegExp][] = [
    [{ preprocess: { ...picture, width: 33, height: 32 } }, /makes a tensor of shape \[1,3,32,33\]/],
    [{ preprocess: { ...picture, width: 32, height: 32, tensor: "nothing" } }, /must name one input/],
    [
      { postprocess: { kind: "classification", softmax: true, top_k: 1, labels: ["a", "b"] } },
      /2 labels.*10 classes/,
    ],
  ];
  for (const [manifest, message] of wrong) {
    await assert.rejects(push(catalogue, "m", "1", buildConvnet(), manifest), {
      code: "model_invalid",
      message,
    });
  }
  await push(catalogue, "m", "1", buildConvnet(), { preprocess: { ...picture, width: 32, height: 32 } });
});

test("an upload that is not what was announced leaves nothing behind", async () => {
  const catalogue = await open();
  const announced = digestOf(Buffer.from("announced"));
  await assert.rejects(catalogue.blobs.receive(announced, chunks(Buffer.from("something else"))), {
    code: "digest_mismatch",
  });
  assert.equal(await catalogue.blobs.sizeBytes(announced), undefined);
  await assert.rejects(catalogue.add("m", "1", announced, {}), { code: "blob_not_found" });
});

test("a damaged index stops the start, naming the file", async () => {
  await writeFile(join(folder, "index.json"), "{");
  await assert.rejects(open(), { code: "config_invalid", message: /index\.json is damaged/ });
});
