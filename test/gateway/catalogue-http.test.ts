/** The catalogue on HTTP: details, aliases in requests, removal while tasks wait, files in pieces, and what is refused. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { modelDetailsSchema } from "@legacygpu/shared/api/models";
import type { Manifest } from "@legacygpu/shared/manifest";
import { manifestJsonSchema } from "@legacygpu/shared/manifest-schema";
import { digestOf } from "../../gateway/models/blobs.ts";
import { buildConvnet, buildIdentity } from "../../models/onnx/synthetic.ts";
import { type Answer, GatewayRig } from "../support/gateway-rig.ts";
import { until } from "../support/until.ts";

let rig: GatewayRig;

before(async () => {
  rig = await GatewayRig.start();
});
after(() => rig.close());

/** Every size is another model. */
async function push(name: string, version: string, size = 4, manifest: Manifest = {}): Promise<Answer> {
  const answer = await rig.push(name, buildIdentity({ size }), manifest, version);
  assert.ok(answer.status < 300, JSON.stringify(answer.body));
  return answer;
}

const alias = (name: string, given: string, version: string): Promise<Answer> =>
  rig.call("PUT", `/models/${name}/aliases/${given}`, { json: { version } });

/** There is no worker: it waits. */
async function submit(model: string, version?: string, size = 4): Promise<Record<string, string>> {
  const inputs = [{ name: "input", datatype: "FP32", shape: [1, size], data: new Array(size).fill(0) }];
  const { status, body } = await rig.call("POST", "/tasks", { json: { model, version, input: { inputs } } });
  assert.equal(status, 202, JSON.stringify(body));
  return body;
}

test("the details of a version are what the file says, with the names of its sizes", async () => {
  const answer = await rig.push("net", buildConvnet(), { description: "a net", concurrency: 2 });
  assert.deepEqual(answer.body.aliases, ["latest"]);
  const { status, body } = await rig.call("GET", "/models/net/versions/latest");
  assert.equal(status, 200);
  const details = modelDetailsSchema.parse(body);
  assert.equal(details.version, "1");
  assert.deepEqual(details.manifest, { description: "a net", concurrency: 2 });
  assert.deepEqual(details.inputs[0]?.dimensions, ["N", 3, 32, 32]);
  assert.deepEqual(details.inputs[0]?.shape, [-1, 3, 32, 32]);
  const { contents } = details;
  assert.ok(contents !== undefined && contents.nodes > 0 && contents.parameter_bytes > 0);
  assert.ok(contents.operators.some(({ name, domain }) => name === "Conv" && domain === "ai.onnx"));
  assert.equal(contents.opset_imports[0]?.domain, "ai.onnx");
});

test("a request may name a version by an alias; the task keeps the version when the alias moves on", async () => {
  await push("moving", "1", 4);
  await push("moving", "2", 5);
  assert.deepEqual((await alias("moving", "stable", "1")).body, {
    model: "moving",
    alias: "stable",
    version: "1",
  });
  const first = await submit("moving", "stable", 4);
  assert.equal(first.version, "1");
  await alias("moving", "stable", "latest");
  assert.equal((await submit("moving", "stable", 5)).version, "2");
  assert.equal((await rig.call("GET", `/tasks/${first.id}`)).body.version, "1");
  const metadata = await rig.call("GET", "/v2/models/moving/versions/stable");
  assert.equal(metadata.body.inputs[0].shape[1], 5);
  assert.equal((await rig.call("DELETE", "/models/moving/aliases/stable")).status, 204);
  assert.equal((await rig.call("GET", "/models/moving/versions/stable")).body.code, "model_not_found");
});

test("a model that tasks wait for stays, unless its removal is forced: then they fail and say why", async () => {
  await push("busy", "1", 4);
  await push("busy", "2", 6);
  const waiting = await submit("busy", "1");
  const other = await submit("busy", "2", 6);
  const refused = await rig.call("DELETE", "/models/busy/versions/1");
  assert.deepEqual([refused.status, refused.body.code], [409, "model_in_use"]);
  assert.equal(refused.body.details.tasks, 1);
  assert.equal((await rig.call("DELETE", "/models/busy")).body.details.tasks, 2);
  const { status, body } = await rig.call("DELETE", "/models/busy/versions/1?force=true");
  assert.deepEqual([status, body], [200, { removed: [{ name: "busy", version: "1" }], failed_tasks: 1 }]);
  const ended = await until("the task to end", async () => {
    const { body: task } = await rig.call("GET", `/tasks/${waiting.id}`);
    return task.status === "PENDING" ? undefined : task;
  });
  assert.equal(ended.status, "FAILED");
  assert.equal(ended.error.code, "model_not_found");
  assert.match(ended.error.message, /busy version 1 was removed/);
  assert.equal((await rig.call("GET", `/tasks/${other.id}`)).body.status, "PENDING");
  assert.equal((await rig.call("DELETE", "/models/busy?force=true")).body.failed_tasks, 1);
  assert.equal((await rig.call("GET", "/models/busy")).status, 404);
});

test("a version that an alias points to stays, unless its removal is forced", async () => {
  await push("named", "1", 4);
  await push("named", "2", 5);
  await alias("named", "stable", "1");
  const refused = await rig.call("DELETE", "/models/named/versions/1");
  assert.deepEqual([refused.status, refused.body.details.aliases], [409, ["stable"]]);
  // latest only follows.
  assert.equal((await rig.call("DELETE", "/models/named/versions/2")).status, 200);
  assert.equal((await rig.call("DELETE", "/models/named/versions/stable?force=true")).status, 200);
  assert.equal((await rig.call("GET", "/models/named")).body.code, "model_not_found");
});

test("a file goes on where it broke off, and HEAD tells where that is", async () => {
  const file = buildIdentity({ size: 77 });
  const digest = digestOf(file);
  const head = await rig.call("HEAD", `/blobs/${digest}/upload`);
  assert.deepEqual([head.status, head.headers.get("upload-offset")], [200, "0"]);
  const part = (from: number, to: number): Promise<Answer> =>
    rig.call("PUT", `/blobs/${digest}?offset=${from}&bytes=${file.length}`, {
      body: file.subarray(from, to),
    });
  assert.deepEqual((await part(0, 50)).body, { digest, offset: 50, complete: false });
  const wrong = await part(60, 70);
  assert.deepEqual([wrong.status, wrong.body.details.offset], [409, 50]);
  assert.equal((await rig.call("GET", `/blobs/${digest}/upload`)).body.offset, 50);
  const last = await part(50, file.length);
  assert.deepEqual([last.status, last.body.complete, last.body.size_bytes], [201, true, file.length]);
  assert.equal((await rig.call("HEAD", `/blobs/${digest}/upload`)).headers.get("upload-complete"), "?1");
  const whole = await rig.call("PUT", `/blobs/${digest}`, { body: file });
  assert.deepEqual([whole.status, whole.body.size_bytes], [200, file.length]);
  assert.equal(
    (await rig.call("PUT", `/blobs/${digest}?bytes=5`, { body: "x" })).body.code,
    "request_invalid",
  );
  assert.deepEqual(
    (await readdir(join(rig.home.models, "blobs"))).filter((name) => !/^[0-9a-f]{64}$/.test(name)),
    [],
  );
});

test("what is no model is refused at the push, and the message says what is wrong", async () => {
  const good = buildIdentity();
  const bad: [string, Uint8Array, RegExp][] = [
    ["text", Buffer.from("this is no model at all"), /not an ONNX model/],
    ["noise", randomBytes(500), /not an ONNX model/],
    ["half", good.subarray(0, good.length - 9), /not an ONNX model/],
    ["nothing", Buffer.of(), /not an ONNX model/],
  ];
  for (const [name, file, message] of bad) {
    const { status, body } = await rig.push(name, file);
    assert.deepEqual([status, body.code], [400, "model_invalid"], name);
    assert.match(body.detail, message, name);
    assert.equal((await rig.call("GET", `/models/${name}`)).status, 404);
  }
});

test("a name that is no path segment is refused with the reason", async () => {
  const file = digestOf(buildIdentity({ size: 4 }));
  for (const name of ["a%2Fb", "%2e%2e%2fetc", ".hidden", "a%00b", "stats", "x".repeat(129), "a b"]) {
    const answer = await rig.call("PUT", `/models/${name}/versions/1`, { json: { file, manifest: {} } });
    assert.deepEqual([answer.status, answer.body.code], [400, "request_invalid"], name);
    assert.match(answer.body.detail, /^name: (1 to 128 letters|'stats' is reserved)/, name);
  }
  const answer = await alias("net", "-x", "1");
  assert.match(answer.body.detail, /^alias: 1 to 64 letters/);
});

test("editors get the form of a manifest without a key, and a manifest may point to it", async () => {
  const answer = await rig.call("GET", "/schemas/manifest.json", { headers: { authorization: "" } });
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.body, manifestJsonSchema());
  const manifest = { $schema: `${rig.url}/schemas/manifest.json`, description: "same" };
  await push("with-schema", "1", 4, { description: "same" });
  assert.equal((await push("with-schema", "1", 4, manifest)).status, 200);
});
