/**
 * Pictures → tensors: the only importer of sharp in what ships. Training uses the same function, so that a model meets
 * in service what it met when it learned.
 */

import { fail } from "@legacygpu/shared/errors";
import type { Preprocess } from "@legacygpu/shared/manifest";
import sharp, { type Sharp } from "sharp";

export interface ImageTensor {
  readonly data: Float32Array;
  /** [1, C, H, W] or [1, H, W, C]. */
  readonly shape: number[];
}

/** Decoded, such a picture takes 400 MB at most; a file of a few kilobytes can claim much more. */
const MAX_PIXELS = 100_000_000;
/** sharp would also read SVG and PDF: documents with references and loops, not pictures. */
const FORMATS: ReadonlySet<string> = new Set(["jpeg", "png", "webp", "gif", "tiff", "heif", "avif"]);

/**
 * @throws `image_invalid` when the bytes are no picture or a far too large one;
 *   `model_invalid` when `mean` or `std` do not fit the channels.
 */
export async function preprocessImage(bytes: Uint8Array, spec: Preprocess): Promise<ImageTensor> {
  const channels = spec.colors === "GRAY" ? 1 : 3;
  const pixels = await decodePixels(bytes, spec);
  const data = normalise(pixels, channels, spec);
  const { width, height } = spec;
  return {
    data,
    shape: spec.layout === "NCHW" ? [1, channels, height, width] : [1, height, width, channels],
  };
}

/** Rows of pixels, RGB or grey, 8 bits each. */
async function decodePixels(bytes: Uint8Array, spec: Preprocess): Promise<Uint8Array> {
  try {
    const image = sharp(bytes, { limitInputPixels: MAX_PIXELS, failOn: "error" });
    const { format } = await image.metadata();
    if (!FORMATS.has(format)) throw new Error(`the format ${format} is not supported`);
    return await pipeline(image, spec).raw().toBuffer();
  } catch (error) {
    throw fail("image_invalid", `The picture cannot be decoded: ${(error as Error).message}.`, {}, error);
  }
}

function pipeline(image: Sharp, spec: Preprocess): Sharp {
  const { width, height, fit, background } = spec;
  const resized = image
    .autoOrient()
    .flatten({ background })
    .resize({ width, height, fit, background })
    .removeAlpha();
  return spec.colors === "GRAY" ? resized.greyscale().toColourspace("b-w") : resized.toColourspace("srgb");
}

/** Each value becomes (pixel × scale − mean) / std; `mean` and `std` are in the order of the model's channels. */
function normalise(pixels: Uint8Array, channels: number, spec: Preprocess): Float32Array {
  const area = spec.width * spec.height;
  if (pixels.length !== area * channels)
    throw fail("internal", `${pixels.length} values in a decoded picture`);
  const data = new Float32Array(pixels.length);
  const [pixelStep, channelStep] = spec.layout === "NCHW" ? [1, area] : [channels, 1];
  for (let channel = 0; channel < channels; channel += 1) {
    const [mean, std] = [
      channelValue(spec.mean, channel, channels),
      channelValue(spec.std, channel, channels),
    ];
    const source = spec.colors === "BGR" ? channels - 1 - channel : channel;
    for (let pixel = 0; pixel < area; pixel += 1) {
      const value = (pixels[pixel * channels + source] ?? 0) * spec.scale;
      data[pixel * pixelStep + channel * channelStep] = (value - mean) / std;
    }
  }
  return data;
}

function channelValue(values: number | readonly number[], channel: number, channels: number): number {
  if (typeof values === "number") return values;
  const value = values[channel];
  if (value === undefined || values.length !== channels) {
    throw fail(
      "model_invalid",
      `The manifest has ${values.length} values of mean or std for ${channels} channels.`,
    );
  }
  return value;
}
