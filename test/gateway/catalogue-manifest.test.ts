/** Manifests against models, and the form of a manifest in its three appearances: schema, published form, page. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { type Manifest, manifestSchema } from "@legacygpu/shared/manifest";
import { MANIFEST_FIELDS, manifestJsonSchema } from "@legacygpu/shared/manifest-schema";
import type { z } from "zod";
import { inspectModel } from "../../gateway/models/inspection.ts";
import { checkManifest } from "../../gateway/models/manifest-checks.ts";
import { buildConvnet, buildIdentity } from "../../models/onnx/synthetic.ts";

const ROOT = join(import.meta.dirname, "../..");
const net = inspectModel(buildConvnet());
const fixed = inspectModel(buildIdentity({ isBatched: false }));

type Given = z.input<typeof manifestSchema>;
const picture = { kind: "image", width: 32, height: 32 } as const;
const classes: NonNullable<Given["postprocess"]> = { kind: "classification", labels: [..."abcdefghij"] };

function refusal(given: Given, model: typeof net): { path: unknown; message: string } {
  try {
    checkManifest(manifestSchema.parse(given) as Manifest, model);
  } catch (error) {
    const { code, message, details } = error as {
      code: string;
      message: string;
      details: { path?: unknown };
    };
    assert.equal(code, "model_invalid");
    return { path: details.path, message };
  }
  throw new Error(`accepted: ${JSON.stringify(given)}`);
}

test("a manifest that fits is accepted, a picture in batches too", () => {
  const given: Given[] = [
    {},
    { preprocess: picture, postprocess: classes, batching: { max_size: 16 } },
    { requirements: { providers: ["cuda", "cpu"], min_vram_mb: 1 } },
    { requirements: { providers: ["cpu"] } },
    { preprocess: picture, postprocess: classes, golden: [{ image: "AAAA", label: "a" }] },
    { preprocess: picture, postprocess: { kind: "classification" }, golden: [{ image: "AAAA", label: "3" }] },
  ];
  for (const each of given) checkManifest(manifestSchema.parse(each), net);
  checkManifest(manifestSchema.parse({ batching: { max_size: 1 } }), fixed);
});

test("each contradiction names the field and the tensor", () => {
  const wrong: [Given, typeof net, string, RegExp][] = [
    [{ batching: { max_size: 2 } }, fixed, "manifest.batching", /input 'input' has the shape \[16\]/],
    [
      { batching: { max_size: 2 } },
      { ...net, outputs: [{ name: "count", datatype: "INT64", shape: [] }] },
      "manifest.batching",
      /output 'count' has the shape \[\]/,
    ],
    [
      { requirements: { providers: ["cpu"], min_vram_mb: 100 } },
      net,
      "manifest.requirements.min_vram_mb",
      /no provider except cpu/,
    ],
    [
      { requirements: { providers: ["cuda", "cpu", "cuda"] } },
      net,
      "manifest.requirements.providers[2]",
      /names cuda twice/,
    ],
    [
      { requirements: { min_vram_mb: 3 } },
      { ...net, contents: { ...net.contents, parameterBytes: 4 * 1024 ** 2 } },
      "manifest.requirements.min_vram_mb",
      /3 MiB.*weights alone take 4 MiB/,
    ],
    [{ golden: [{ image: "AAAA", label: "a" }] }, net, "manifest.golden", /need `preprocess`/],
    [
      { preprocess: picture, postprocess: classes, golden: [{ image: "AAAA", label: "z" }] },
      net,
      "manifest.golden[0].label",
      /'z'/,
    ],
    [{ preprocess: { ...picture, colors: "GRAY" } }, net, "manifest.preprocess", /\[1,1,32,32\]/],
    [
      { postprocess: { ...classes, tensor: "x" } },
      net,
      "manifest.postprocess.tensor",
      /must name one output/,
    ],
  ];
  for (const [given, model, path, message] of wrong) {
    const found = refusal(given, model);
    assert.equal(found.path, path);
    assert.match(found.message, message);
  }
});

test("docs/manifest.schema.json is the form of a manifest (take it anew from GET /schemas/manifest.json)", async () => {
  const published = JSON.parse(await readFile(join(ROOT, "docs/manifest.schema.json"), "utf8"));
  assert.deepEqual(published, JSON.parse(JSON.stringify(manifestJsonSchema())));
});

test("every field has a sentence in the form and a row in docs/manifest.md, and there are no others", async () => {
  const fields = fieldsOf(manifestJsonSchema());
  assert.deepEqual(Object.keys(MANIFEST_FIELDS).sort(), [...fields].sort());
  const page = await readFile(join(ROOT, "docs/manifest.md"), "utf8");
  const rows = [...page.matchAll(/^\| `([^`]+)` \|/gm)].map(([, field]) => field);
  assert.deepEqual(rows.sort(), [...fields].sort());
});

interface Form {
  readonly properties?: Readonly<Record<string, Form>>;
  readonly items?: Form;
}

function fieldsOf(form: Form, prefix = ""): string[] {
  return Object.entries(form.properties ?? {}).flatMap(([key, inner]) => {
    const field = prefix === "" ? key : `${prefix}.${key}`;
    const list = inner.items === undefined ? [] : fieldsOf(inner.items, `${field}[]`);
    // The elements of a list are not a field of their own.
    return [field, ...fieldsOf(inner, field), ...list];
  });
}
