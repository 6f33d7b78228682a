/** Two pictures with fixed looks: the one that the quickstart sends, and the manifest's golden example. */

import sharp from "sharp";
import { HELD_OUT_FAMILIES, loadFaces } from "./fonts.ts";
import { boundingBox, mapOutline, outlinePoints, outlineToSvg } from "./geometry.ts";

interface Look {
  readonly digit: number;
  readonly family: string;
  readonly side: number;
  readonly rotationDegrees: number;
  readonly background: string;
  readonly ink: string;
}

const SUNSET =
  '<defs><linearGradient id="g" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="#0b3954"/>' +
  '<stop offset="0.6" stop-color="#5b2a86"/><stop offset="1" stop-color="#c81d7a"/></linearGradient></defs>' +
  '<rect width="100%" height="100%" fill="url(#g)"/>' +
  '<circle cx="40" cy="170" r="60" fill="#ffffff" fill-opacity="0.08"/>' +
  '<circle cx="190" cy="30" r="45" fill="#ffffff" fill-opacity="0.08"/>';

/** In a handwriting that the model has not been trained on. */
const SAMPLE: Look = {
  digit: 7,
  family: "caveat",
  side: 220,
  rotationDegrees: 8,
  background: SUNSET,
  ink: "#ffd166",
};
const GOLDEN: Look = {
  digit: 3,
  family: "dm-sans",
  side: 48,
  rotationDegrees: 6,
  background: '<rect width="100%" height="100%" fill="#f7f3e8"/>',
  ink: "#1d3557",
};

export interface FixedPicture {
  readonly label: string;
  readonly png: Uint8Array;
}

export const drawSample = () => draw(SAMPLE);
export const drawGolden = () => draw(GOLDEN);

async function draw({ digit, family, side, rotationDegrees, background, ink }: Look): Promise<FixedPicture> {
  const faces = await loadFaces(HELD_OUT_FAMILIES.filter((name) => name === family));
  const outline = faces.at(-1)?.digits[digit] ?? [];
  const box = boundingBox(outlinePoints(outline));
  const scale = (0.62 * side) / Math.max(box.width, box.height);
  const path = mapOutline(outline, ({ x, y }) => ({
    x: side / 2 + (x - box.left - box.width / 2) * scale,
    y: side / 2 + (y - box.top - box.height / 2) * scale,
  }));
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${side}" height="${side}">${background}` +
    `<path d="${outlineToSvg(path)}" fill="${ink}" transform="rotate(${rotationDegrees} ${side / 2} ${side / 2})"/></svg>`;
  const png = await sharp(Buffer.from(svg)).removeAlpha().png({ compressionLevel: 9 }).toBuffer();
  return { label: String(digit), png };
}
