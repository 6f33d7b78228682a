/** The forms of answers that need no worker: classes instead of scores, the choice of a compression, parameters. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Manifest } from "@legacygpu/shared/manifest";
import type { Datatype, Tensor } from "@legacygpu/shared/tensor";
import { bestClasses } from "../../../gateway/inference/classification.ts";
import { compressed, preferredCoding } from "../../../gateway/inference/compression.ts";
import { readParameters } from "../../../gateway/inference/request-parameters.ts";
import type { Model } from "../../../gateway/models/catalogue.ts";
import { tensorToJson } from "../../../gateway/tasks/tensor-json.ts";
import { bytesOf } from "./protocol-rig.ts";

function modelWith(datatype: Datatype, shape: number[], manifest: Manifest = {}): Model {
  const digest = `sha256:${"0".repeat(64)}` as const;
  const outputs = [{ name: "scores", datatype, shape }];
  const ref = { name: "m", version: "1", file: digest, fileBytes: 1, manifest: digest };
  return { ref, manifest, inputs: [], outputs, createdAtMs: 0 } as unknown as Model;
}

const scores = (datatype: Datatype, shape: number[], data: ArrayBufferView): Tensor => ({
  name: "scores",
  datatype,
  shape,
  data: bytesOf(data),
});

test("classes are value, index and label, the best first, a row for each of the batch", () => {
  const postprocess = {
    kind: "classification",
    softmax: false,
    top_k: 1,
    labels: ["cat", "dog", "cow"],
  } as const;
  const model = modelWith("FP32", [-1, 3], {
    postprocess: { ...postprocess, labels: [...postprocess.labels] },
  });
  const tensor = scores("FP32", [2, 3], Float32Array.of(0.25, 0.5, 0.125, 9, Number.NaN, 10));
  assert.deepEqual(tensorToJson(bestClasses(tensor, 2, model)), {
    name: "scores",
    datatype: "BYTES",
    shape: [2, 2],
    data: ["0.500000:1:dog", "0.250000:0:cat", "10.000000:2:cow", "9.000000:0:cat"],
  });
});

test("one row has no dimension of rows, whole numbers have no fraction, and there are no more classes than scores", () => {
  const tensor = scores("INT64", [3], BigInt64Array.of(3n, 9007199254740993n, 9007199254740995n));
  const json = tensorToJson(bestClasses(tensor, 10, modelWith("INT64", [3])));
  assert.deepEqual(json.shape, [3]);
  assert.deepEqual(json.data, ["9007199254740995:2", "9007199254740993:1", "3:0"]);
});

test("a batch of none has no classes", () => {
  const json = tensorToJson(
    bestClasses(scores("FP32", [0, 3], new Float32Array(0)), 2, modelWith("FP32", [-1, 3])),
  );
  assert.deepEqual([json.shape, json.data], [[0, 0], []]);
});

test("the coding of an answer is the one that the client weighs most", () => {
  const cases: [string, string | undefined][] = [
    ["gzip", "gzip"],
    ["deflate", "deflate"],
    ["gzip, deflate", "gzip"],
    ["deflate, gzip;q=0.5", "deflate"],
    ["gzip;q=0", undefined],
    ["gzip;q=0, deflate;q=0.1", "deflate"],
    ["identity, gzip;q=0.5", undefined],
    ["identity;q=0.4, GZIP ; Q=0.5", "gzip"],
    ["*", "gzip"],
    ["*;q=0", undefined],
    ["gzip;q=0, *", "deflate"],
    ["br", undefined],
    ["", undefined],
    ["gzip;q=x", undefined],
  ];
  for (const [accepted, coding] of cases) assert.equal(preferredCoding(accepted), coding, accepted);
});

test("a small answer is not compressed: nothing would be gained", async () => {
  const answer = { headers: { "content-type": "application/json" }, body: "x".repeat(1023) };
  assert.equal(await compressed(answer, "gzip"), answer);
  const larger = await compressed({ ...answer, body: "x".repeat(1024) }, "gzip");
  assert.equal(larger.headers["content-encoding"], "gzip");
  assert.equal(larger.headers.vary, "Accept-Encoding");
});

test("priorities and timeouts are ours from theirs, and nothing given is the default", () => {
  const read = (given: Record<string, unknown> | null | undefined) => readParameters(given, "m");
  assert.deepEqual(read(undefined), {
    priority: "NORMAL",
    timeoutMs: 60_000,
    isBinaryOutput: false,
    noWait: false,
  });
  assert.deepEqual(read(null), read({}));
  const levels = [0, 1, 2, 3, 4, 1000].map((priority) => read({ priority }).priority);
  assert.deepEqual(levels, ["NORMAL", "CRITICAL", "HIGH", "NORMAL", "LOW", "LOW"]);
  assert.equal(read({ timeout: 1500 }).timeoutMs, 1.5);
  assert.equal(read({ timeout: 0 }).timeoutMs, 60_000);
  assert.equal(read({ timeout: 2n ** 63n }).timeoutMs, 604_800_000);
  assert.equal(read({ binary_data_output: true }).isBinaryOutput, true);
  const empty = { sequence_id: 0, sequence_start: false, sequence_end: false, mine: "x", headers: {} };
  assert.deepEqual(read(empty), read({}));
});
