/** `legacygpu model …` against a real gateway, and what it says about manifests that are wrong. */

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { JsonPlaces } from "../../client/cli/json-places.ts";
import { buildConvnet, buildIdentity } from "../../models/onnx/synthetic.ts";
import { runTestCli } from "../support/cli-rig.ts";
import { GatewayRig } from "../support/gateway-rig.ts";

let rig: GatewayRig;
let folder: string;
let env: Record<string, string>;

before(async () => {
  rig = await GatewayRig.start();
  folder = await mkdtemp(join(tmpdir(), "legacygpu-cli-models-"));
  env = {
    LEGACYGPU_HOME: folder,
    LEGACYGPU_URL: rig.url,
    LEGACYGPU_CA: rig.gateway.caFile ?? "",
    LEGACYGPU_KEY: rig.adminKey,
  };
});
after(async () => {
  await rig.close();
  await rm(folder, { recursive: true, force: true });
});

const run = (...argv: string[]): ReturnType<typeof runTestCli> => runTestCli(argv, { env });

async function file(name: string, contents: string | Uint8Array): Promise<string> {
  await writeFile(join(folder, name), contents);
  return join(folder, name);
}

test("push with an alias, list, show, move the alias, remove", async () => {
  const small = await file("small.onnx", buildIdentity({ size: 4 }));
  const large = await file("large.onnx", buildIdentity({ size: 8 }));
  const first = await run("model", "push", "id", small, "--alias", "stable");
  assert.equal(first.code, 0, first.err);
  assert.match(first.out, /^aliases {2}latest, stable$/m);
  assert.equal((await run("model", "push", "id", large)).code, 0);
  const list = await run("model", "list");
  assert.match(list.out, /^id +1 +stable /m);
  assert.match(list.out, /^id +2 +latest /m);

  assert.match((await run("model", "show", "id")).out, /^version +2$/m);
  const shown = (await run("model", "show", "id@stable")).out;
  assert.match(shown, /^version +1$/m);
  assert.match(shown, /^input +input +FP32 +\[N, 4\]$/m);
  assert.match(shown, /^operators +2 Identity$/m);
  const json = JSON.parse((await run("--json", "model", "show", "id@1")).out);
  assert.equal(json.contents.nodes, 2);

  assert.equal((await run("model", "alias", "id", "stable", "2")).out, "id@stable is version 2.\n");
  const refused = await run("model", "rm", "id@2");
  assert.equal(refused.code, 1);
  assert.match(refused.err, /stable of id points to version 2\.\n {2}code: model_in_use/);
  assert.equal((await run("model", "alias", "id", "stable", "--remove")).out, "id@stable is gone.\n");
  assert.equal((await run("model", "rm", "id@2")).out, "id@2 removed.\n");
  assert.equal((await run("model", "rm", "id", "--force")).out, "id@1 removed.\n");
  assert.equal((await run("model", "show", "id")).code, 1);
});

test("an alias command that says too little or too much is refused", async () => {
  assert.equal((await run("model", "alias", "id", "stable")).code, 2);
  assert.equal((await run("model", "alias", "id", "stable", "1", "--remove")).code, 2);
});

test("names that would lead elsewhere are refused before anything is sent", async () => {
  const model = await file("safe.onnx", buildIdentity({ size: 4 }));
  for (const argv of [
    ["push", "../keys", model],
    ["push", "id", model, "--version", "a/b"],
    ["push", "id", model, "--alias", ".."],
    ["show", "../keys"],
    ["show", "id@.."],
    ["rm", "..", "--force"],
    ["alias", "id", "a/b", "1"],
  ]) {
    const { code, err } = await run("model", ...argv);
    assert.equal(code, 2, argv.join(" "));
    assert.match(err, /(name|version|alias): "[^"]*" cannot be used: 1 to (64|128) letters/, argv.join(" "));
  }
});

test("what is wrong with a manifest is said with file, line, column and field", async () => {
  const model = await file("net.onnx", buildConvnet());
  const wrong: [string, RegExp][] = [
    [
      '{\n  "preprocess": { "kind": "image", "width": 32, "heigth": 32 }\n}',
      /:2:49: preprocess\.heigth is unknown: did you mean height\?/,
    ],
    ['{\n  "preprocess": { "kind": "image", "width": 32 }\n}', /:2:3: preprocess\.height: /],
    [
      '{\n  "batching": {\n    "max_sise": 2, "max_size": 2\n  }\n}',
      /:3:5: batching\.max_sise is unknown: did you mean max_size\?/,
    ],
    ['{\n  "concurrency": 0\n}', /:2:3: concurrency: /],
    [
      '{\n  "concurrency": 1,\n  "concurrency": 2\n}',
      /:3:3: this is not JSON: expected a key that is not there yet/,
    ],
    ['{ "description": "x",\n}', /:2:1: this is not JSON: expected a key in double quotes/],
    [
      '{\n  "golden": [{ "image": "AAAA", "label": "a" }, { "image": "?", "label": "a" }]\n}',
      /:2:51: golden\[1\]\.image: /,
    ],
    ["", /:1:1: this is not JSON: expected a value/],
    ["[]", /:1:1: the manifest: /],
    // What only the gateway can know.
    [
      '{\n  "postprocess": {\n    "kind": "classification",\n    "labels": ["a"]\n  }\n}',
      /:4:5: The manifest has 1 labels/,
    ],
    ['{ "requirements":\n  { "providers": ["cpu",\n    "cpu"] } }', /:3:5: .* names cpu twice/],
  ];
  for (const [text, message] of wrong) {
    const manifest = await file("manifest.json", text);
    const { code, err } = await run("model", "push", "net", model, "--manifest", manifest);
    assert.equal(code, 2, text);
    assert.match(err, new RegExp(`manifest\\.json${message.source}`), text);
  }
});

test("what is JSON has places, and what is not has a fault", () => {
  fc.assert(
    fc.property(
      fc.json({ maxDepth: 3 }),
      fc.nat(),
      fc.constantFrom("", ",", "}", '"', "x", "\\"),
      (text, at, noise) => {
        const given = `${text.slice(0, at % (text.length + 1))}${noise}${text.slice(at % (text.length + 1))}`;
        let isJson = true;
        try {
          JSON.parse(given);
        } catch {
          isJson = false;
        }
        const { fault } = new JsonPlaces(given);
        // A key given twice is the one thing that JSON.parse lets pass.
        if (isJson && fault !== undefined) assert.match(fault.expected, /not there yet/);
        if (!isJson) assert.notEqual(fault, undefined);
      },
    ),
  );
});
