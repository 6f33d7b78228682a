/** The model that is shipped answers as its manifest and README say. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { before, suite, test } from "node:test";
import { manifestSchema, type Preprocess } from "@legacygpu/shared/manifest";
import { decodeModel } from "@legacygpu/shared/onnx";
import { InferenceSession, Tensor } from "onnxruntime-node";
import sharp, { type Sharp } from "sharp";
import { preprocessImage } from "../../agent/images/preprocess.ts";

const read = (name: string) => readFile(new URL(`../../models/digits/${name}`, import.meta.url));

/** Digits by simple pens: neither the fonts nor the hands of the training pictures. Boxes of 10 × 16. */
const PATHS: Readonly<Record<string, string>> = {
  0: "M5 0C-1 0 -1 16 5 16C11 16 11 0 5 0Z",
  1: "M2 4L5 0V16",
  2: "M0 4C0 -2 10 -2 9 5C8 9 3 12 0 16H10",
  3: "M0 1C4 -1 9 0 9 4C9 7 6 8 3 8C7 8 10 9 10 12C10 16 4 17 0 15",
  4: "M7 16V0L0 11H10",
  5: "M9 0H1V7C5 5 10 6 10 11C10 16 4 17 0 15",
  6: "M8 0C3 3 0 7 0 11C0 17 10 17 10 11C10 7 3 7 1 11",
  7: "M0 0H10L4 16",
  8: "M5 8C-1 6 0 0 5 0C10 0 11 6 5 8C-2 10 -1 16 5 16C11 16 12 10 5 8Z",
  9: "M9 5C9 -1 0 -1 0 5C0 10 9 10 9 5V16",
};

interface Look {
  readonly width: number;
  readonly height: number;
  readonly ink: string;
  readonly paper: string;
  /** Width of the line, where the digit is 16 high. */
  readonly pen: number;
  /** Height of the digit as a share of the picture. */
  readonly share: number;
}

function draw(digit: string, { width, height, ink, paper, pen, share }: Look): Sharp {
  const scale = (share * height) / 16;
  const place = `translate(${width / 2 - 5 * scale} ${height / 2 - 8 * scale}) scale(${scale})`;
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">` +
    `<rect width="100%" height="100%" fill="${paper}"/><path d="${PATHS[digit]}" transform="${place}" fill="none" ` +
    `stroke="${ink}" stroke-width="${pen}" stroke-linecap="round" stroke-linejoin="round"/></svg>`;
  return sharp(Buffer.from(svg));
}

const LOOKS: Readonly<Record<string, Look>> = {
  "black on white": { width: 280, height: 280, ink: "#000", paper: "#fff", pen: 1.6, share: 0.6 },
  "white on black, 28 pixels": { width: 28, height: 28, ink: "#fff", paper: "#000", pen: 2, share: 0.7 },
  "thin red in a large picture": {
    width: 800,
    height: 600,
    ink: "#d00",
    paper: "#fff",
    pen: 0.6,
    share: 0.6,
  },
  "yellow on blue, thick": {
    width: 200,
    height: 260,
    ink: "#ffd000",
    paper: "#103080",
    pen: 2.6,
    share: 0.7,
  },
  "black on nothing": { width: 128, height: 128, ink: "#000", paper: "none", pen: 1.5, share: 0.8 },
  "white on nothing": { width: 128, height: 128, ink: "#fff", paper: "none", pen: 1.5, share: 0.8 },
  "small within the picture": { width: 400, height: 400, ink: "#222", paper: "#eee", pen: 1.8, share: 0.35 },
};

suite("digits model", () => {
  let manifest: ReturnType<typeof manifestSchema.parse>;
  let session: InferenceSession;

  before(async () => {
    manifest = manifestSchema.parse(JSON.parse(await read("manifest.json").then(String)));
    session = await InferenceSession.create(await read("model.onnx"), { intraOpNumThreads: 1 });
  });

  async function classify(file: Uint8Array): Promise<{ label: string; score: number }> {
    const { data, shape } = await preprocessImage(file, manifest.preprocess as Preprocess);
    const results = await session.run({ image: new Tensor("float32", data, shape) });
    const logits = [...((results.logits as Tensor).data as Float32Array)];
    const exponents = logits.map((logit) => Math.exp(logit));
    const sum = exponents.reduce((total, value) => total + value, 0);
    const best = logits.indexOf(Math.max(...logits));
    return { label: manifest.postprocess?.labels?.[best] ?? "", score: (exponents[best] ?? 0) / sum };
  }

  test("is small and takes batches", async () => {
    const bytes = await read("model.onnx");
    assert.ok(bytes.length < 1_000_000);
    const [input] = decodeModel(bytes).graph.input ?? [];
    assert.deepEqual(input?.type?.tensorType?.shape?.dim?.[0], { dimParam: "N" });
  });

  test("reaches its golden examples", async () => {
    assert.ok((manifest.golden ?? []).length > 0);
    for (const golden of manifest.golden ?? []) {
      const { label, score } = await classify(Buffer.from(golden.image, "base64"));
      assert.equal(label, golden.label);
      assert.ok(score >= golden.min_score, `${score}`);
    }
  });

  test("knows the picture that the quickstart sends", async () => {
    const { label, score } = await classify(await read("sample.png"));
    assert.equal(label, "7");
    assert.ok(score > 0.8, `${score}`);
  });

  for (const [name, look] of Object.entries(LOOKS)) {
    test(`reads every digit: ${name}`, async () => {
      for (const digit of Object.keys(PATHS)) {
        const { label } = await classify(await draw(digit, look).png().toBuffer());
        assert.equal(label, digit);
      }
    });
  }

  test("reads JPEG and WebP", async () => {
    const look = LOOKS["black on white"];
    assert.ok(look !== undefined);
    for (const digit of Object.keys(PATHS)) {
      const jpeg: Buffer = await draw(digit, look).jpeg({ quality: 40 }).toBuffer();
      assert.equal((await classify(jpeg)).label, digit);
      assert.equal((await classify(await draw(digit, look).webp().toBuffer())).label, digit);
    }
  });

  test("its measured accuracy is what was asked for", async () => {
    const accuracy = JSON.parse(await read("accuracy.json").then(String)) as { accuracy: number };
    assert.ok(accuracy.accuracy >= 0.97, `${accuracy.accuracy}`);
  });
});
