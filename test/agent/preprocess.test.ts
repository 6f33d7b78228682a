/** Pictures become the tensors that the manifest describes, compared with values worked out by hand. */

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { crc32 } from "node:zlib";
import { LegacyGpuError } from "@legacygpu/shared/errors";
import { preprocessSchema } from "@legacygpu/shared/manifest";
import sharp from "sharp";
import { preprocessImage } from "../../agent/images/preprocess.ts";

const RED = [255, 0, 0];
const GREEN = [0, 255, 0];
const BLUE = [0, 0, 255];
const WHITE = [255, 255, 255];

type Rows = readonly (readonly (readonly number[])[])[];

function draw(rows: Rows) {
  const [first = []] = rows;
  const channels = first[0]?.length === 4 ? 4 : 3;
  return sharp(Uint8Array.from(rows.flat(2)), {
    raw: { width: first.length, height: rows.length, channels },
  });
}
const png = (rows: Rows) => draw(rows).png().toBuffer();

/** One pixel for one value: scale 1 leaves 0 to 255. */
const spec = (options: Record<string, unknown>) =>
  preprocessSchema.parse({ kind: "image", width: 2, height: 2, scale: 1, ...options });

async function values(bytes: Uint8Array, options: Record<string, unknown> = {}): Promise<number[]> {
  return [...(await preprocessImage(bytes, spec(options))).data];
}

const rejects = (bytes: Uint8Array, code: string, options: Record<string, unknown> = {}) =>
  assert.rejects(
    preprocessImage(bytes, spec(options)),
    (error) => error instanceof LegacyGpuError && error.code === code,
  );

suite("preprocessImage", () => {
  const picture = png([
    [RED, GREEN],
    [BLUE, WHITE],
  ]);

  test("NCHW: one plane for each colour", async () => {
    const result = await preprocessImage(await picture, spec({}));
    assert.deepEqual(result.shape, [1, 3, 2, 2]);
    assert.deepEqual([...result.data], [255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255]);
  });

  test("NHWC: the colours of a pixel beside each other", async () => {
    const result = await preprocessImage(await picture, spec({ layout: "NHWC" }));
    assert.deepEqual(result.shape, [1, 2, 2, 3]);
    assert.deepEqual([...result.data], [...RED, ...GREEN, ...BLUE, ...WHITE]);
  });

  test("BGR swaps red and blue", async () => {
    assert.deepEqual(
      await values(await picture, { colors: "BGR" }),
      [0, 0, 255, 255, 0, 255, 0, 255, 255, 0, 0, 255],
    );
  });

  test("GRAY has one channel, by luminance", async () => {
    const result = await preprocessImage(await picture, spec({ colors: "GRAY" }));
    assert.deepEqual(result.shape, [1, 1, 2, 2]);
    const [red = 0, green = 0, blue = 0, white = 0] = result.data;
    assert.ok(blue < red && red < green && green < white, `${[...result.data]}`);
    assert.equal(white, 255);
  });

  test("a grey picture becomes three equal channels", async () => {
    const grey = await sharp(Uint8Array.of(10, 20, 30, 40), { raw: { width: 2, height: 2, channels: 1 } })
      .toColourspace("b-w")
      .png()
      .toBuffer();
    assert.deepEqual(await values(grey), [10, 20, 30, 40, 10, 20, 30, 40, 10, 20, 30, 40]);
  });

  test("(pixel × scale − mean) / std, channel by channel", async () => {
    const one = await png([[[100, 150, 200]]]);
    const options = { width: 1, height: 1, scale: 0.5, mean: [10, 20, 30], std: [2, 5, 10] };
    assert.deepEqual(await values(one, options), [(50 - 10) / 2, (75 - 20) / 5, (100 - 30) / 10]);
    assert.deepEqual(await values(one, { ...options, mean: 10, std: 2 }), [20, 32.5, 45]);
  });

  test("mean and std of BGR are in the order of the model's channels", async () => {
    const one = await png([[[100, 150, 200]]]);
    assert.deepEqual(
      await values(one, { width: 1, height: 1, colors: "BGR", mean: [200, 150, 100] }),
      [0, 0, 0],
    );
  });

  test("values default to 0 … 1", async () => {
    const one = await png([[WHITE]]);
    const { data } = await preprocessImage(
      one,
      preprocessSchema.parse({ kind: "image", width: 1, height: 1 }),
    );
    assert.deepEqual([...data], [1, 1, 1]);
  });

  test("contain pads with the background, cover crops, fill stretches", async () => {
    const gray = { width: 4, height: 4, colors: "GRAY" };
    const wide = await sharp({ create: { width: 40, height: 20, channels: 3, background: "#000000" } })
      .png()
      .toBuffer();
    const rows = (data: number[]) => [0, 4, 8, 12].map((start) => data[start]);
    assert.deepEqual(rows(await values(wide, { ...gray, fit: "contain" })), [255, 0, 0, 255]);
    const onGrey = { ...gray, fit: "contain", background: "#808080" };
    assert.deepEqual(rows(await values(wide, onGrey)), [128, 0, 0, 128]);
    assert.deepEqual(rows(await values(wide, { ...gray, fit: "cover" })), [0, 0, 0, 0]);
    assert.deepEqual(rows(await values(wide, { ...gray, fit: "fill" })), [0, 0, 0, 0]);
  });

  test("transparent pixels take the background", async () => {
    const clear = await png([[[...RED, 0]]]);
    assert.deepEqual(await values(clear, { width: 1, height: 1 }), WHITE);
    assert.deepEqual(await values(clear, { width: 1, height: 1, background: "#0000ff" }), BLUE);
  });

  test("EXIF orientation is applied", async () => {
    const column = draw([[RED], [BLUE]]);
    const turned = await column.withMetadata({ orientation: 6 }).png().toBuffer();
    const options = { width: 2, height: 1, layout: "NHWC" };
    assert.deepEqual(await values(turned, options), [...BLUE, ...RED]);
  });

  test("16 bits and other formats come out as 8-bit colours", async () => {
    const deep = await draw([[WHITE]])
      .toColourspace("rgb16")
      .png()
      .toBuffer();
    assert.deepEqual(await values(deep, { width: 1, height: 1 }), WHITE);
    const flat = sharp({ create: { width: 16, height: 16, channels: 3, background: "#ff0000" } });
    for (const format of ["jpeg", "webp", "gif", "avif", "tiff"] as const) {
      const [red = 0, green = 255, blue = 255] = await values(await flat.toFormat(format).toBuffer(), {
        width: 1,
        height: 1,
      });
      assert.ok(red > 240 && green < 16 && blue < 16, `${format}: ${[red, green, blue]}`);
    }
  });

  test("what is no picture is image_invalid", async () => {
    await rejects(new Uint8Array(0), "image_invalid");
    await rejects(Buffer.from("not a picture"), "image_invalid");
    const whole = await sharp({ create: { width: 64, height: 64, channels: 3, background: "#123456" } })
      .png({ compressionLevel: 0 })
      .toBuffer();
    await rejects(whole.subarray(0, 3000), "image_invalid");
  });

  test("SVG is refused", async () => {
    const svg =
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>';
    await rejects(Buffer.from(svg), "image_invalid");
  });

  test("a small file that claims 400 million pixels is refused", async () => {
    const small = await png([[WHITE]]);
    const header = Buffer.from(small.subarray(12, 29));
    header.writeUInt32BE(20_000, 4);
    header.writeUInt32BE(20_000, 8);
    small.set(header, 12);
    small.writeUInt32BE(crc32(header), 29);
    await rejects(small, "image_invalid");
  });

  test("mean and std must fit the channels", async () => {
    await rejects(await picture, "model_invalid", { colors: "GRAY", mean: [1, 2, 3] });
  });
});
